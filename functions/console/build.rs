//! Embeds `assets/`, each file as it is and compressed, under a release name that is the hash of them all.
//!
//! A page and the modules that it loads are of one release, because the release is part of every address but the
//! page's own; so each of them can be kept for ever.

use std::{env, error::Error, fmt::Write as _, fs, io::Write as _, path::PathBuf};

use flate2::{Compression, write::GzEncoder};
use sha2::{Digest as _, Sha256};

/// Stands in the page where the release belongs.
const RELEASE: &str = "{release}";

#[expect(clippy::disallowed_methods, reason = "Cargo tells a build script where to write by its environment")]
fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=assets");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let mut names = Vec::new();
    for entry in fs::read_dir("assets")? {
        let name = entry?.file_name().into_string();
        names.push(name.map_err(|name| format!("{} is no name for an asset", name.display()))?);
    }
    names.sort();

    let mut hash = Sha256::new();
    for name in &names {
        hash.update(name);
        hash.update(fs::read(format!("assets/{name}"))?);
    }
    let release = hex::encode(&hash.finalize()[..8]);

    let mut assets = String::new();
    for name in &names {
        let mut content = fs::read(format!("assets/{name}"))?;
        if name == "index.html" {
            content = String::from_utf8(content)?.replace(RELEASE, &release).into();
        }
        let mut compressed = GzEncoder::new(Vec::new(), Compression::best());
        compressed.write_all(&content)?;
        fs::write(out.join(name), content)?;
        fs::write(out.join(format!("{name}.gz")), compressed.finish()?)?;
        let included = |file: &str| format!("include_bytes!(concat!(env!(\"OUT_DIR\"), \"/{file}\"))");
        let (plain, compressed) = (included(name), included(&format!("{name}.gz")));
        writeln!(assets, "    Asset {{ name: {name:?}, plain: {plain}, compressed: {compressed} }},")?;
    }
    let embedded =
        format!("pub(super) const RELEASE: &str = {release:?};\npub(super) const ASSETS: &[Asset] = &[\n{assets}];\n");
    fs::write(out.join("assets.rs"), embedded)?;
    Ok(())
}
