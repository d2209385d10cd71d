//! Builds the embedded program (src/init) for the library to carry, and says where the installed copy
//! of it will be.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    for path in ["build.rs", "src/init", "src/child"] {
        println!("cargo::rerun-if-changed={path}");
    }
    println!("cargo::rerun-if-env-changed=SBX_LIBEXECDIR");
    println!("cargo::rustc-check-cfg=cfg(sbx_init)");
    let libexecdir = env::var("SBX_LIBEXECDIR").unwrap_or_else(|_| "/usr/local/libexec".into());
    println!("cargo::rustc-env=SBX_LIBEXECDIR={libexecdir}");

    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR")).join("sbx-init");
    build_init(&out);
    // Where the Makefile finds it: beside the library, target/PROFILE/sbx-init.
    if let Some(profile) = out.ancestors().nth(4) {
        std::fs::copy(&out, profile.join("sbx-init")).expect("the target directory is writable");
    }
}

/// One call of the compiler: static, at a fixed address, without libc, without anything that starts
/// or unwinds; the code is the child's own, compiled once more.
fn build_init(out: &Path) {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let target = env::var("TARGET").expect("cargo sets TARGET");
    let status = Command::new(rustc)
        .args([
            "--edition",
            "2024",
            "--crate-name",
            "sbx_init",
            "--crate-type",
            "bin",
            "--cfg",
            "sbx_init",
        ])
        .args(["--target", &target])
        .args(["-A", "dead_code", "-D", "unsafe_op_in_unsafe_fn"])
        .args([
            "-C",
            "opt-level=s",
            "-C",
            "panic=abort",
            "-C",
            "codegen-units=1",
            "-C",
            "lto=fat",
            "-C",
            "relocation-model=static",
        ])
        .args(["-C", "overflow-checks=off", "-C", "debug-assertions=off"])
        .args([
            "-C",
            "link-arg=-nostdlib",
            "-C",
            "link-arg=-nostartfiles",
            "-C",
            "link-arg=-static",
            "-C",
            "link-arg=-no-pie",
        ])
        .args([
            "-C",
            "link-arg=-Wl,-z,noexecstack,-z,norelro,--build-id=none,--gc-sections",
            "-C",
            "strip=debuginfo",
        ])
        .arg("-o")
        .arg(out)
        .arg("src/init/main.rs")
        .status()
        .expect("rustc runs");
    assert!(status.success(), "the embedded program does not build");
}
