//! `thoughtwire config`: shows and checks the configuration of `serve`.

use serde_json::json;
use thoughtwire_server::{Config, Flags, Setting};

use crate::cli::{AuthChoice, ConfigCommand, ServeFlags};
use crate::{CommandStatus, out};

pub(crate) fn run(command: ConfigCommand) -> anyhow::Result<CommandStatus> {
    match command {
        ConfigCommand::Show { flags, output } => {
            let (_, settings) = Config::load(&flags.into())?;
            if output.json {
                out::json(&json!({"settings": settings}))?;
            } else {
                let row = |setting: &Setting| {
                    [setting.name.clone(), setting.value.clone(), setting.source.clone()]
                };
                out::table(
                    ["SETTING", "VALUE", "FROM"],
                    &settings.iter().map(row).collect::<Vec<_>>(),
                )?;
            }
            Ok(CommandStatus::Done)
        }
        ConfigCommand::Check { flags, output } => {
            match (Config::load(&flags.into()), output.json) {
                (Ok(_), true) => out::json(&json!({"ok": true}))
                    .map(|()| CommandStatus::Done)
                    .map_err(Into::into),
                (Ok(_), false) => out::line("the configuration is valid")
                    .map(|()| CommandStatus::Done)
                    .map_err(Into::into),
                (Err(error), true) => {
                    out::json(&json!({"ok": false, "error": error.to_string()}))?;
                    Ok(CommandStatus::Failed)
                }
                (Err(error), false) => Err(error.into()),
            }
        }
    }
}

impl From<ServeFlags> for Flags {
    fn from(flags: ServeFlags) -> Self {
        let ServeFlags {
            listen,
            data_dir,
            store,
            advertise,
            config,
            model,
            auth,
            allow_origin,
            tls_certificate,
            tls_key,
            trust_proxy,
            base_path,
        } = flags;
        let auth = auth.map(|choice| match choice {
            AuthChoice::None => "none".to_owned(),
            AuthChoice::Keys => "keys".to_owned(),
        });
        Self {
            listen,
            data_dir,
            store,
            advertise,
            config,
            model,
            auth,
            allow_origin,
            tls_certificate,
            tls_key,
            trust_proxy,
            base_path,
        }
    }
}
