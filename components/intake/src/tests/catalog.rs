use super::*;

#[tokio::test]
async fn a_catalogue_lists_what_can_be_booked() {
    let item = json!({
        "slotKey": {"S": "CL#catalogue"}, "countryISO": {"S": "CL"}, "version": {"N": "3"},
        "specialties": {"L": [{"S": "Pediatría"}]}, "centers": {"L": [{"S": "Ñuñoa"}]},
        "practitioners": {"L": [{"M": {"name": {"S": "Dr. Soto"}, "specialty": {"S": "Pediatría"}, "center": {"S": "Ñuñoa"}}}]},
    });
    let host = host(&[]).then("GetItem", 200, &json!({"Item": item}));
    let response = call(&host, Method::GET, "/catalog/CL", &[], None).await;
    assert_eq!(
        response.body,
        json!({
            "countryISO": "CL", "specialties": ["Pediatría"], "centers": ["Ñuñoa"],
            "practitioners": [{"name": "Dr. Soto", "specialty": "Pediatría", "center": "Ñuñoa"}],
        })
    );
    assert_eq!(response.header("cache-control"), Some("public, max-age=2"));
}

#[tokio::test]
async fn a_country_without_a_catalogue_has_none() {
    let host = host(&[]).then("GetItem", 200, &json!({}));
    assert_eq!(call(&host, Method::GET, "/catalog/CL", &[], None).await.status, StatusCode::NOT_FOUND);
}
