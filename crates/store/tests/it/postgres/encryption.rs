//! Encrypted connections.

use std::process::Command;

use thoughtwire_store::{NodeIdentity, Store};

use crate::support::{NOW, agent, append, log, postgres_tool, says, session};

/// A server with a certificate, and the file of the authority that signed it.
struct EncryptedServer {
    dir: tempfile::TempDir,
    url: String,
}

impl EncryptedServer {
    fn start() -> Self {
        let dir = tempfile::Builder::new().permissions(open_to_all()).tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
        let (key, certificate) = (path("key.pem"), path("certificate.pem"));
        let made = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"])
            .args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"])
            .args(["-addext", "basicConstraints=critical,CA:FALSE"])
            .args(["-keyout", &key, "-out", &certificate])
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let url = postgres_tool(&[
            "cluster",
            &path("data"),
            "ssl=on",
            &format!("ssl_cert_file={certificate}"),
            &format!("ssl_key_file={key}"),
        ]);
        Self { dir, url }
    }

    fn url(&self, query: &str) -> String {
        self.url.replace("127.0.0.1", "localhost").replace("sslmode=disable", query)
    }
}

impl Drop for EncryptedServer {
    fn drop(&mut self) {
        postgres_tool(&["end", self.dir.path().join("data").to_str().unwrap()]);
    }
}

fn open_to_all() -> std::fs::Permissions {
    std::os::unix::fs::PermissionsExt::from_mode(0o755)
}

#[tokio::test]
async fn connections_are_encrypted_as_the_address_says() {
    let server = EncryptedServer::start();
    let roots = server.dir.path().join("certificate.pem");
    let roots = roots.to_str().unwrap();
    let node = NodeIdentity::new("one", None);
    for query in ["sslmode=require".to_owned(), format!("sslmode=verify-full&sslrootcert={roots}")]
    {
        let store = Store::connect(&server.url(&query), node.clone(), NOW).await.unwrap();
        let ada = format!("ada-{}", query.len());
        let mut ada = session(&store, &agent(&store, &ada).await).await;
        append(&store, &mut ada, vec![(None, says("i-1", "tea"))]).await;
        assert_eq!(log(&store, &ada.id).await.len(), 2);
        store.close().await;
    }
    // The system's authorities do not know the certificate, and the name has to be the one in it.
    for url in [
        server.url("sslmode=verify-full"),
        server
            .url(&format!("sslmode=verify-full&sslrootcert={roots}"))
            .replace("localhost", "127.0.0.1"),
    ] {
        let refused = Store::connect(&url, node.clone(), NOW).await.err().unwrap().to_string();
        assert!(refused.contains("certificate"), "{url}: {refused}");
    }
}
