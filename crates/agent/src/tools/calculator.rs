//! The calculator.

use exmex::{BinOp, Express, FlatEx, FloatOpsFactory, MakeOperators, Operator};

/// Longest expression, in bytes: enough for people, too short for deep nesting.
const LONGEST: usize = 500;

/// Evaluates an expression and formats the result without superfluous digits.
pub(crate) fn calculate(expression: &str) -> Result<String, String> {
    if expression.len() > LONGEST {
        return Err(format!(
            "The expression has {} bytes; at most {LONGEST} are worked out at once.",
            expression.len()
        ));
    }
    let written =
        expression.replace(['×', '·'], "*").replace('÷', "/").replace('−', "-").replace("**", "^");
    let result = FlatEx::<f64, CalculatorOperators>::parse(&written)
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

/// The library's operators, with `%` at the precedence of `*` and `/`, all evaluated from left to
/// right.
#[derive(Debug, Clone)]
struct CalculatorOperators;

impl MakeOperators<f64> for CalculatorOperators {
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

/// Rounds to fifteen significant digits, which a 64-bit float represents exactly: 0.1 + 0.2 is 0.3.
fn plain(number: f64) -> String {
    let rounded: f64 = format!("{number:.14e}").parse().unwrap_or(number);
    if rounded != 0.0 && !(1e-6..1e15).contains(&rounded.abs()) {
        format!("{rounded:e}")
    } else {
        format!("{}", rounded + 0.0)
    }
}
