//! `GET /catalog/{countryISO}`: what can be booked in a country. It reads the projection, and anybody may ask.

use appointment::{Catalogue, Country, Practitioner};
use edge_component::{Host, Problem, ProblemCode, Response};
use http::HeaderMap;
use serde::Serialize;

use crate::context::RequestContext;
use crate::error::RequestError;
use crate::respond::cacheable;
use crate::settings::Settings;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownCatalog<'a> {
    #[serde(rename = "countryISO")]
    country: Country,
    specialties: &'a [String],
    centers: &'a [String],
    practitioners: &'a [Practitioner],
}

/// The specialties, centers and practitioners of a country.
pub(crate) async fn handle<H: Host>(
    country: Country,
    headers: &HeaderMap,
    context: &mut RequestContext<H>,
) -> Result<Response, RequestError> {
    context.country = Some(country.into());
    let catalogue = Settings::read(context)?.slots().catalogue(country).await?;
    let catalogue = catalogue.ok_or(Problem::new(ProblemCode::CatalogNotFound))?;
    let Catalogue { country, specialties, centers, practitioners, .. } = &catalogue;
    Ok(cacheable(&ShownCatalog { country: *country, specialties, centers, practitioners }, headers))
}
