//! Arithmetic.

use exmex::{BinOp, Express, FlatEx, FloatOpsFactory, MakeOperators, Operator};

/// The longest expression: long enough for people, too short to nest deeply.
const LONGEST: usize = 500;

/// Works an expression out and writes the result without superfluous digits.
pub(crate) fn calculate(expression: &str) -> Result<String, String> {
    if expression.len() > LONGEST {
        return Err(format!(
            "The expression has {} bytes; at most {LONGEST} are worked out at once.",
            expression.len()
        ));
    }
    let written =
        expression.replace(['×', '·'], "*").replace('÷', "/").replace('−', "-").replace("**", "^");
    let result = FlatEx::<f64, Signs>::parse(&written)
        .and_then(|sum| sum.eval(&[]))
        .map_err(|error| format!("`{expression}` cannot be worked out: {error}."))?;
    if result.is_finite() {
        Ok(plain(result))
    } else {
        Err(format!(
            "`{expression}` has no result: it divides by zero, or goes beyond what can be counted."
        ))
    }
}

/// The library's signs and functions, with `%` beside `*` and `/`, the three read from left to right.
#[derive(Debug, Clone)]
struct Signs;

impl MakeOperators<f64> for Signs {
    fn make<'a>() -> Vec<Operator<'a, f64>> {
        let sign = |apply| BinOp { apply, prio: 2, is_commutative: false };
        let mut signs = FloatOpsFactory::<f64>::make();
        signs.retain(|known| !matches!(known.repr(), "*" | "/"));
        signs.push(Operator::make_bin("*", sign(|a, b| a * b)));
        signs.push(Operator::make_bin("/", sign(|a, b| a / b)));
        signs.push(Operator::make_bin("%", sign(|a, b| a % b)));
        signs
    }
}

/// Fifteen significant digits are what a 64-bit float knows for sure: 0.1 + 0.2 is 0.3.
fn plain(number: f64) -> String {
    let rounded: f64 = format!("{number:.14e}").parse().unwrap_or(number);
    if rounded != 0.0 && !(1e-6..1e15).contains(&rounded.abs()) {
        format!("{rounded:e}")
    } else {
        format!("{}", rounded + 0.0)
    }
}
