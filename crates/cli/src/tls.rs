//! TLS for everything in this process, and what is wrong when a server's cannot be believed.

use std::error::Error;

use rustls::CertificateError as Bad;

/// One TLS implementation for everything in this process. That it is there already is as good.
pub(crate) fn install_tls() {
    drop(rustls::crypto::ring::default_provider().install_default());
}

/// What is wrong with the TLS of the server at `base`, if that is why it could not be talked to.
pub(crate) fn trouble(base: &str, error: &(dyn Error + 'static)) -> Option<anyhow::Error> {
    let error = find(error)?;
    let rustls::Error::InvalidCertificate(bad) = error else {
        return Some(anyhow::anyhow!(
            "TLS with {base} failed: {error}; is it a server that speaks TLS, or should the address begin with http://?"
        ));
    };
    let (what, mend) = if matches!(bad, Bad::Expired | Bad::ExpiredContext { .. }) {
        ("it has expired".to_owned(), "renew it, or set this machine's clock")
    } else if matches!(bad, Bad::NotValidYet | Bad::NotValidYetContext { .. }) {
        ("it is not valid yet".to_owned(), "set this machine's clock")
    } else if matches!(bad, Bad::NotValidForName | Bad::NotValidForNameContext { .. }) {
        ("it is for another name".to_owned(), "use the name that the certificate is for")
    } else if matches!(bad, Bad::UnknownIssuer | Bad::BadSignature) {
        (
            "this machine does not know the authority that signed it".to_owned(),
            "add the authority to the system's, or name its PEM file in SSL_CERT_FILE",
        )
    } else {
        (bad.to_string(), "have the server's owner look at it")
    };
    Some(anyhow::anyhow!("the certificate of {base} is not trusted: {what}; {mend}"))
}

/// The TLS error among an error's causes.
fn find<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<rustls::Error>() {
            return Some(found);
        }
        // An I/O error hides what it carries from its list of causes.
        let carried = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        if let Some(carried) = carried {
            let carried: &(dyn Error + 'static) = carried;
            if let Some(found) = find(carried) {
                return Some(found);
            }
        }
        next = error.source();
    }
    None
}
