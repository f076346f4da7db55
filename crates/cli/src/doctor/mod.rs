//! `thoughtwire doctor`.

mod remote;

use serde_json::json;
use thoughtwire_server::{Config, Finding, Health, examine};

use crate::cli::{DoctorFlags, ServeFlags};
use crate::out::{Look, Paint};
use crate::place::named;
use crate::tls::install_tls;
use crate::visible::visible;
use crate::{Outcome, out};

pub(crate) async fn run(flags: DoctorFlags) -> anyhow::Result<Outcome> {
    let DoctorFlags { url, serve, form } = flags;
    install_tls();
    let findings = match url {
        Some(url) => remote::examine(&named(&url)?).await?,
        None => local(serve).await,
    };
    let worst = findings.iter().map(|finding| finding.health).max().unwrap_or(Health::Good);
    if form.json {
        out::json(&json!({"ok": worst != Health::Bad, "findings": findings}))?;
    } else {
        findings.iter().try_for_each(tell)?;
        out::line(match worst {
            Health::Good => "\nEverything is as it should be.",
            Health::Doubtful => "\nIt works; look at what is marked.",
            Health::Bad => "\nSomething does not work: see what is marked.",
        })?;
    }
    Ok(if worst == Health::Bad { Outcome::Failed } else { Outcome::Done })
}

/// What a server with these flags would stand on.
async fn local(serve: ServeFlags) -> Vec<Finding> {
    match Config::load(&serve.into()) {
        Ok((config, _)) => examine(&config).await,
        Err(error) => vec![Finding {
            subject: "configuration".to_owned(),
            health: Health::Bad,
            found: error.to_string(),
            mend: Some(
                "correct it; `thoughtwire config show` tells where each setting comes from"
                    .to_owned(),
            ),
        }],
    }
}

fn tell(finding: &Finding) -> std::io::Result<()> {
    let (mark, look) = match finding.health {
        Health::Good => ("good", Look::Dim),
        Health::Doubtful => ("LOOK", Look::Bold),
        Health::Bad => ("BAD ", Look::Bad),
    };
    let paint = Paint::of_stdout();
    let (subject, found) = (visible(&finding.subject), visible(&finding.found));
    out::line(&format!("{}  {subject}: {found}", paint.show(look, mark)))?;
    match &finding.mend {
        Some(mend) => out::line(&format!("      {}", paint.show(Look::Bold, mend))),
        None => Ok(()),
    }
}
