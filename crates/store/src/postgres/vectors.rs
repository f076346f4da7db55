//! Vectors of notes and messages in PostgreSQL.

use thoughtwire_proto::AgentId;
use tokio_postgres::Client;

use super::sql::{Text, args, count_to_i64, execute, get_i64, get_text, rows};
use crate::{SearchedTexts, StoreError, StoredVector};

/// Lists some texts that have no vector of a model yet, oldest first.
pub(super) async fn missing(
    sql: &Client,
    agent: &AgentId,
    of: SearchedTexts,
    model: &str,
    limit: usize,
) -> Result<Vec<(i64, String)>, StoreError> {
    let from = match of {
        SearchedTexts::Notes => "notes AS one",
        SearchedTexts::Said => "said AS one JOIN sessions ON sessions.num = one.session",
    };
    let select = format!(
        "SELECT one.id, one.text FROM {from} WHERE one.agent = $1 AND NOT EXISTS (
            SELECT 1 FROM vectors WHERE texts = $2 AND vectors.text = one.id AND model = $3
         ) ORDER BY one.id LIMIT $4"
    );
    let (agent, of) = (Text(agent.as_str()), of.number());
    let (model, limit) = (Text(model), count_to_i64(limit));
    let found = rows(sql, &select, args![agent, of, model, limit]).await?;
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
