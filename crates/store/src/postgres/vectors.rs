//! Vectors of notes and messages in PostgreSQL.

use thoughtwire_proto::AgentId;
use tokio_postgres::Client;

use super::sql::{Text, args, count_to_i64, execute, get_count, get_i64, get_id, get_text, rows};
use crate::{SearchedTexts, StoreError, StoredVector, UnembeddedTexts};

/// The rows of texts, without those that are being erased.
const fn rows_of(of: SearchedTexts) -> &'static str {
    match of {
        SearchedTexts::Notes => "notes AS one",
        SearchedTexts::Said => "said AS one JOIN sessions ON sessions.num = one.session",
    }
}

/// Counts the texts of one agent, or of all, that have no vector of a model yet.
pub(super) async fn count_missing(
    sql: &Client,
    agent: Option<&AgentId>,
    model: &str,
) -> Result<Vec<UnembeddedTexts>, StoreError> {
    let mut counted = Vec::new();
    for of in [SearchedTexts::Notes, SearchedTexts::Said] {
        let from = rows_of(of);
        let select = format!(
            "SELECT agents.id, count(*) FROM agents, {from}
             WHERE one.agent = agents.id AND ($3 = '' OR agents.id = $3) AND NOT EXISTS (
                SELECT 1 FROM vectors WHERE texts = $1 AND vectors.text = one.id AND model = $2
             ) GROUP BY agents.id"
        );
        let agent = Text(agent.map_or("", AgentId::as_str));
        let found = rows(sql, &select, args![of.number(), Text(model), agent]).await?;
        for row in &found {
            let (agent, count) = (get_id(row, 0)?, get_count(row, 1)?);
            counted.push(UnembeddedTexts { agent, of, count });
        }
    }
    Ok(counted)
}

/// Lists some texts behind a number that have no vector of a model yet, by number.
pub(super) async fn missing(
    sql: &Client,
    agent: &AgentId,
    of: SearchedTexts,
    model: &str,
    (after, limit): (i64, usize),
) -> Result<Vec<(i64, String)>, StoreError> {
    let from = rows_of(of);
    let select = format!(
        "SELECT one.id, one.text FROM {from}
         WHERE one.agent = $1 AND one.id > $4 AND NOT EXISTS (
            SELECT 1 FROM vectors WHERE texts = $2 AND vectors.text = one.id AND model = $3
         ) ORDER BY one.id LIMIT $5"
    );
    let (agent, of) = (Text(agent.as_str()), of.number());
    let (model, limit) = (Text(model), count_to_i64(limit));
    let found = rows(sql, &select, args![agent, of, model, after, limit]).await?;
    found.iter().map(|row| Ok((get_i64(row, 0)?, get_text(row, 1)?))).collect()
}

/// Sets the vectors of texts, by their numbers.
pub(super) async fn set(
    sql: &Client,
    agent: &AgentId,
    of: SearchedTexts,
    model: &str,
    vectors: &[(i64, Vec<f32>)],
) -> Result<(), StoreError> {
    // A statement changes a row only once.
    let mut last: Vec<&(i64, Vec<f32>)> = Vec::with_capacity(vectors.len());
    for vector in vectors.iter().rev() {
        if last.iter().all(|known| known.0 != vector.0) {
            last.push(vector);
        }
    }
    let texts: Vec<i64> = last.iter().map(|vector| vector.0).collect();
    let bytes: Vec<Vec<u8>> = last.iter().map(|vector| StoredVector::to_bytes(&vector.1)).collect();
    execute(
        sql,
        "INSERT INTO vectors (agent, texts, text, model, vector)
         SELECT $1, $2, one.text, $3, one.vector
         FROM unnest($4::bigint[], $5::bytea[]) AS one (text, vector)
         ON CONFLICT (texts, text) DO UPDATE SET
            id = nextval(pg_get_serial_sequence('vectors', 'id')), agent = excluded.agent,
            model = excluded.model, vector = excluded.vector",
        args![Text(agent.as_str()), of.number(), Text(model), texts, bytes],
    )
    .await?;
    Ok(())
}

/// Lists the vectors behind a number.
pub(super) async fn after(
    sql: &Client,
    agent: &AgentId,
    of: SearchedTexts,
    model: &str,
    (after, limit): (i64, usize),
) -> Result<Vec<StoredVector>, StoreError> {
    let select = "SELECT id, text, vector FROM vectors
                  WHERE agent = $1 AND texts = $2 AND id > $3 AND model = $4
                  ORDER BY id LIMIT $5";
    let (agent, of) = (Text(agent.as_str()), of.number());
    let (model, limit) = (Text(model), count_to_i64(limit));
    let found = rows(sql, select, args![agent, of, after, model, limit]).await?;
    let vector = |row: &tokio_postgres::Row| {
        let vector = StoredVector::from_bytes(row.try_get(2)?);
        Ok(StoredVector { id: get_i64(row, 0)?, text: get_i64(row, 1)?, vector })
    };
    found.iter().map(vector).collect()
}
