//! Compiles the protobuf contracts with protox, so that no `protoc` needs to be installed.
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = ["event", "decision", "push", "outcome", "audit", "lifecycle"]
        .map(|name| format!("proto/watchbell/v1/{name}.proto"));
    println!("cargo:rerun-if-changed=proto");
    println!("cargo:rerun-if-changed=build.rs");
    let descriptors = protox::compile(&files, ["proto"])?;
    prost_build::Config::new().compile_fds(descriptors)?;
    Ok(())
}
