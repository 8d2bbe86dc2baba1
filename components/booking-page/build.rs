//! Compresses the files of the page, and names them by a hash of their content. The component embeds the result.
#![expect(clippy::expect_used, clippy::panic, reason = "a build that cannot go on ends with the reason")]

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use brotli::enc::BrotliEncoderParams;
use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};

/// The files of the page, in the crate's folder.
const PAGE: &str = "page";

/// The document, which is served under `/`; everything else is an asset.
const DOCUMENT: &str = "index.html";

/// The placeholder in the document for the folder of the assets.
const FOLDER: &str = "{assets}";

/// Libraries of others, each with its licence.
const VENDORED: &str = "vendor";

fn main() {
    let output = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={PAGE}");
    println!("cargo::rerun-if-changed={VENDORED}");

    let mut document = String::new();
    let mut assets: Vec<(String, Vec<u8>)> = Vec::new();
    for path in files(Path::new(PAGE)) {
        let name = name(&path);
        if name == DOCUMENT {
            document = text(&path);
        } else {
            assets.push((name, text(&path).into_bytes()));
        }
    }
    for folder in files(Path::new(VENDORED)) {
        let licence = text(&folder.join("LICENSE")).replace("*/", "* /");
        let script = text(&folder.join("index.js"));
        assets.push((format!("{}.js", name(&folder)), format!("/*!\n{licence}*/\n{script}").into_bytes()));
    }

    // One folder for all of them together: they import each other by their plain names.
    let mut digest = Sha256::new();
    for (name, content) in &assets {
        digest.update(name);
        digest.update(content);
    }
    let version = hexadecimal(&digest.finalize());
    let document = document.replace(FOLDER, &format!("/assets/{version}"));

    let mut code =
        format!("/// What the folder of the assets is called.\npub(crate) const VERSION: &str = {version:?};\n");
    code.push_str("/// The document.\npub(crate) const DOCUMENT: Asset = ");
    embed(&mut code, &output, DOCUMENT, document.as_bytes());
    code.push_str(";\n/// Everything else.\npub(crate) const ASSETS: &[Asset] = &[\n");
    for (name, content) in &assets {
        embed(&mut code, &output, name, content);
        code.push_str(",\n");
    }
    code.push_str("];\n");
    write(&output.join("assets.rs"), code.as_bytes());
}

/// Writes a file in its three encodings, and the code that embeds them.
fn embed(code: &mut String, output: &Path, name: &str, content: &[u8]) {
    let media_type = match Path::new(name).extension().and_then(|extension| extension.to_str()) {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => panic!("{name}: no media type is known for such a file"),
    };
    let hash = hexadecimal(&Sha256::digest(content));
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    gzip.write_all(content).expect("memory takes what is written");
    let gzip = gzip.finish().expect("memory takes what is written");
    let mut brotli = Vec::new();
    let parameters = BrotliEncoderParams::default();
    brotli::BrotliCompress(&mut &*content, &mut brotli, &parameters).expect("memory takes what is written");
    write!(code, "Asset {{ name: {name:?}, media_type: {media_type:?}, hash: {hash:?}").expect("memory");
    for (encoding, ending, bytes) in [("plain", "", content), ("gzip", ".gz", &gzip), ("brotli", ".br", &brotli)] {
        let file = output.join(format!("{name}{ending}"));
        write(&file, bytes);
        write!(code, ", {encoding}: include_bytes!({file:?})").expect("memory");
    }
    code.push_str(" }");
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("cannot read {}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("a folder's entry").path()).collect();
    // The same sources give the same component.
    paths.sort();
    paths
}

fn name(path: &Path) -> String {
    path.file_name().and_then(|name| name.to_str()).expect("names are ASCII").to_owned()
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()))
}

fn write(path: &Path, content: &[u8]) {
    fs::write(path, content).unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
}

/// The first eight bytes: enough to tell versions apart.
fn hexadecimal(digest: &[u8]) -> String {
    digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}
