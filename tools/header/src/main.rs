//! Writes include/sbx.h from the C surface, or with `--check` fails when the file differs.
//!
//! Run from the repository's root: `cargo run -p sbx-header [-- --check]`. The sources are listed here
//! in the order in which a reader of the header wants them; that none is missing shows when the
//! exported symbols are compared with the header.

use std::process::ExitCode;

const HEADER: &str = "include/sbx.h";

/// The header's contents, in order. Nothing else of the library is looked at, so that no constant
/// of its inside becomes a macro.
const SOURCES: &[&str] = &[
    "src/flags.rs",
    "src/capi/error.rs",
    "src/capi/version.rs",
    "src/capi/runner.rs",
    "src/capi/program.rs",
    "src/capi/attributes.rs",
    "src/capi/identity.rs",
    "src/capi/mounts.rs",
    "src/capi/restrict.rs",
    "src/capi/control.rs",
    "src/capi/launch.rs",
    "src/capi/process.rs",
];

fn generate() -> Result<Vec<u8>, String> {
    let config = cbindgen::Config::from_file("cbindgen.toml")?;
    let mut builder = cbindgen::Builder::new().with_config(config);
    for source in SOURCES {
        builder = builder.with_src(source);
    }
    let bindings = builder.generate().map_err(|error| error.to_string())?;
    let mut header = Vec::new();
    bindings.write(&mut header);
    Ok(header)
}

fn run() -> Result<(), String> {
    let header = generate()?;
    match std::env::args().nth(1).as_deref() {
        None => std::fs::write(HEADER, header).map_err(|error| format!("{HEADER}: {error}")),
        Some("--check") => match std::fs::read(HEADER) {
            Ok(there) if there == header => Ok(()),
            Ok(_) => Err(format!("{HEADER} is not what src/capi says: run `make header`")),
            Err(error) => Err(format!("{HEADER}: {error}")),
        },
        Some(other) => Err(format!("unknown argument {other}")),
    }
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("header: {message}");
            ExitCode::FAILURE
        }
    }
}
