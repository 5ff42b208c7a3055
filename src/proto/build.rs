//! Makes the code for the contracts of this folder, before the crate is compiled. Cargo runs it; no protoc is needed.

fn main() {
    println!("cargo::rerun-if-changed=src/proto");
    #[cfg(feature = "grpc")]
    contracts::compile();
}

#[cfg(feature = "grpc")]
mod contracts {
    /// What `mod.rs` includes.
    const FILES: [&str; 6] =
        ["identity.proto", "relay.proto", "location.proto", "chat.proto", "notification.proto", "admin.proto"];

    pub fn compile() {
        let contracts = protox::compile(FILES, ["src/proto"]).unwrap_or_else(|error| panic!("{error:?}"));
        // Clients and servers are made of whatever transport they are given.
        let configured = tonic_prost_build::configure().build_transport(false);
        configured.compile_fds(contracts).expect("the folder of the build can be written");
    }
}
