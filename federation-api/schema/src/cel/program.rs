//! A compiled expression and its evaluation under a budget.
//!
//! The interpreter has no limits of its own, so the expression is changed once it is parsed: each turn of a loop asks
//! the meter first, and `+`, by which values grow, bounds what it makes.

use std::{
    cell::Cell,
    sync::{Arc, LazyLock},
};

use kube_cel::{
    KubeCelExt as _,
    cel::{
        Context, ExecutionError, IdedExpr, Value,
        common::{
            ast::{CallExpr, EntryExpr, Expr, LiteralValue, operators},
            types::{CelBool, CelInt},
        },
        extractors::Arguments,
        objects::{Key, OptionalValue},
        parser::Parser,
    },
};

use super::{
    messages::{self, Outcome},
    names,
    value::optional as optional_of,
};

/// How long the text of an expression may be.
const LONGEST: usize = 16 * 1024;
/// The largest string (bytes) and list (items) that `+` and its like make.
const LARGEST: usize = 4 << 20;
const MOST_ITEMS: usize = 100_000;
/// What a regular expression costs: it is compiled each time.
const REGEX_COST: i64 = 500;

const TICK: &str = "@tick";
const ADD: &str = "@add";
const MAYBE: &str = "@maybe";

/// Why an expression was not compiled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    /// It is wrong.
    #[error("compilation failed: {0}")]
    Invalid(String),
    /// It may be right elsewhere, but is not evaluated here.
    #[error("{0}")]
    Unsupported(String),
}

/// Why an evaluation gave no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("{0}")]
    Failed(String),
    /// Something is not there that it asks for.
    #[error("no such key: {0}")]
    Missing(String),
    /// The budget is used up.
    #[error("it takes too long: the cost of its loops is over the limit")]
    Cost,
}

/// What evaluations may still cost: about as many steps of the interpreter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget(pub u64);

impl Default for Budget {
    /// For all rules of one object: well below a second.
    fn default() -> Self {
        Self(5_000_000)
    }
}

/// What is being evaluated on this thread.
#[derive(Clone, Copy, Debug, Default)]
struct Meter {
    left: u64,
    /// How large the bound variables are.
    size: u64,
    spent: bool,
}

thread_local! {
    static METER: Cell<Meter> = const { Cell::new(Meter { left: 0, size: 0, spent: false }) };
}

/// The functions that every expression has.
static FUNCTIONS: LazyLock<Context<'static>> = LazyLock::new(|| {
    let mut context = Context::default().with_all();
    context.add_function(TICK, tick);
    context.add_function(ADD, |a: Value, b: Value| add(a, b));
    context.add_function(MAYBE, |of: Value, key: Value| maybe(of, &key));
    context.add_function("lists.range", range);
    context.add_function("replace", replace);
    context
});

/// A compiled expression.
#[derive(Debug)]
pub struct Program {
    pub text: Box<str>,
    expr: IdedExpr,
    depth: usize,
}

/// How deep an expression may be for any thread to evaluate it.
const SHALLOW: usize = 20;

impl Program {
    /// Compiles an expression that may use `variables`. Parsing uses much stack: see [`on_large_stack`].
    pub fn compile(text: &str, variables: &[&str]) -> Result<Self, CompileError> {
        Self::parse(text, variables).map(Self::metered)
    }

    /// The same for a caller with an ordinary stack: where the text may be nested deeply, it is parsed on a larger one.
    pub fn compile_anywhere(text: &str, variables: &[&str]) -> Result<Self, CompileError> {
        let nests = text.bytes().filter(|it| b"([{?!-".contains(it)).count();
        if nests <= SHALLOW {
            return Self::compile(text, variables);
        }
        on_large_stack(|| Self::compile(text, variables))
    }

    /// Compiles an expression of a mutation, which may make messages.
    pub fn mutation(
        text: &str,
        variables: &[&str],
        outcome: Outcome,
    ) -> Result<Self, CompileError> {
        let mut expr = syntax(text)?;
        messages::resolve(&mut expr, outcome)?;
        Self::checked(text, expr, variables).map(Self::metered)
    }

    /// Parses and checks the names in it; the meter is still to be put in.
    pub(super) fn parse(text: &str, variables: &[&str]) -> Result<Self, CompileError> {
        Self::checked(text, syntax(text)?, variables)
    }

    fn checked(text: &str, expr: IdedExpr, variables: &[&str]) -> Result<Self, CompileError> {
        let depth = names::check(&expr, variables)?;
        Ok(Self { text: text.into(), expr, depth })
    }

    pub(super) fn expression(&self) -> &IdedExpr {
        &self.expr
    }

    pub(super) fn metered(mut self) -> Self {
        meter(&mut self.expr);
        self
    }

    /// Whether a variable is used.
    pub fn uses(&self, variable: &str) -> bool {
        uses(&self.expr, variable)
    }

    /// Evaluates it. `size` is about how many values `variables` hold; the cost is taken from `budget`.
    pub fn evaluate(
        &self,
        variables: &[(&str, Value)],
        size: u64,
        budget: &mut Budget,
    ) -> Result<Value, Fault> {
        if self.depth <= SHALLOW {
            return self.run(variables, size, budget);
        }
        on_large_stack(|| self.run(variables, size, budget))
    }

    fn run(
        &self,
        variables: &[(&str, Value)],
        size: u64,
        budget: &mut Budget,
    ) -> Result<Value, Fault> {
        let mut context = FUNCTIONS.new_inner_scope();
        for (name, value) in variables {
            context.add_variable_from_value(*name, value.clone());
        }
        let before = METER.replace(Meter { left: budget.0, size, spent: false });
        spend(1);
        let result = Value::resolve(&self.expr, &context);
        let after = METER.replace(before);
        budget.0 = after.left;
        if after.spent {
            return Err(Fault::Cost);
        }
        result.map_err(|error| match error {
            ExecutionError::NoSuchKey(key) => Fault::Missing(key.to_string()),
            other => Fault::Failed(told(&other)),
        })
    }
}

/// An expression that is well-formed.
fn syntax(text: &str) -> Result<IdedExpr, CompileError> {
    let invalid = |why: &str| CompileError::Invalid(why.to_owned());
    if text.trim().is_empty() {
        return Err(invalid("it is empty"));
    }
    if text.len() > LONGEST {
        return Err(invalid("it is longer than 16 KiB"));
    }
    let parsed = Parser::default().enable_optional_syntax(true).parse(text);
    parsed.map_err(|error| {
        let message = error.to_string();
        let line = message.lines().find(|it| !it.trim().is_empty()).unwrap_or("no expression");
        // What the parser would have taken instead is a long list of little use.
        let line = line.split(" expecting").next().unwrap_or_default();
        invalid(line.trim_start_matches("ERROR: <input>:"))
    })
}

/// An error in few words: values in it may be large, or secret.
fn told(error: &ExecutionError) -> String {
    match error {
        ExecutionError::NoSuchOverload
        | ExecutionError::UnexpectedType { .. }
        | ExecutionError::UnsupportedTargetType { .. }
        | ExecutionError::NotSupportedAsMethod { .. }
        | ExecutionError::UnsupportedBinaryOperator(..)
        | ExecutionError::UnsupportedUnaryOperator(..)
        | ExecutionError::ValuesNotComparable(..) => "no such overload".to_owned(),
        ExecutionError::DivisionByZero(_) => "division by zero".to_owned(),
        ExecutionError::RemainderByZero(_) => "modulus by zero".to_owned(),
        ExecutionError::Overflow(..) => "integer overflow".to_owned(),
        ExecutionError::IndexOutOfBounds(_) => "index out of bounds".to_owned(),
        ExecutionError::UndeclaredReference(name) => format!("undeclared reference to '{name}'"),
        ExecutionError::FunctionError { function, message } => format!("{function}: {message}"),
        _ => "it cannot be evaluated on these values".to_owned(),
    }
}

/// Runs `work` where a deep text can be parsed.
pub fn on_large_stack<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(256 << 20).spawn_scoped(scope, work);
        let joined = thread.expect("the system makes a thread").join();
        joined.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Whether a function can be called, whatever it takes.
pub(super) fn has_function(name: &str) -> bool {
    let call = CallExpr { func_name: name.to_owned(), ..CallExpr::default() };
    let expr = IdedExpr { id: 0, expr: Expr::Call(call) };
    match Value::resolve(&expr, &FUNCTIONS) {
        Err(ExecutionError::UndeclaredReference(missing)) => *missing != name,
        _ => true,
    }
}

fn uses(expr: &IdedExpr, variable: &str) -> bool {
    let any = |list: &[IdedExpr]| list.iter().any(|it| uses(it, variable));
    match &expr.expr {
        Expr::Ident(name) => name == variable,
        Expr::Select(select) => uses(&select.operand, variable),
        Expr::List(list) => any(&list.elements),
        Expr::Map(map) => map.entries.iter().any(|entry| match &entry.expr {
            EntryExpr::MapEntry(entry) => {
                uses(&entry.key, variable) || uses(&entry.value, variable)
            }
            EntryExpr::StructField(field) => uses(&field.value, variable),
        }),
        Expr::Call(call) => {
            call.target.as_deref().is_some_and(|target| uses(target, variable)) || any(&call.args)
        }
        Expr::Comprehension(it) => {
            [&it.iter_range, &it.accu_init, &it.loop_cond, &it.loop_step, &it.result]
                .into_iter()
                .any(|part| uses(part, variable))
        }
        Expr::Literal(_) | Expr::Struct(_) | Expr::Unspecified => false,
    }
}

/// What one evaluation costs, loops inside left out: steps, and steps that copy a part of the variables.
#[derive(Clone, Copy, Default)]
struct Weight {
    steps: i64,
    copies: i64,
}

/// Puts the meter into an expression and tells its weight.
fn meter(expr: &mut IdedExpr) -> Weight {
    let mut weight = Weight { steps: 1, copies: 0 };
    let mut add = |more: Weight| {
        weight.steps += more.steps;
        weight.copies += more.copies;
    };
    match &mut expr.expr {
        Expr::Literal(_) | Expr::Ident(_) | Expr::Struct(_) | Expr::Unspecified => {}
        Expr::Select(select) => {
            add(meter(&mut select.operand));
            add(Weight { steps: 0, copies: 1 });
        }
        Expr::List(list) => list.elements.iter_mut().for_each(|it| add(meter(it))),
        Expr::Map(map) => {
            for entry in &mut map.entries {
                if let EntryExpr::MapEntry(entry) = &mut entry.expr {
                    add(meter(&mut entry.key));
                    add(meter(&mut entry.value));
                }
            }
        }
        Expr::Call(call) => {
            if let Some(target) = &mut call.target {
                add(meter(target));
            }
            call.args.iter_mut().for_each(|it| add(meter(it)));
            if !names::is_operator(&call.func_name) || call.func_name == operators::INDEX {
                add(Weight { steps: 2, copies: 1 });
            }
            if names::REGEX.contains(&call.func_name.as_str()) {
                add(Weight { steps: REGEX_COST, copies: 0 });
            }
            if matches!(call.func_name.as_str(), operators::OPT_SELECT | operators::OPT_INDEX) {
                call.func_name = MAYBE.to_owned();
                add(Weight { steps: 2, copies: 1 });
            }
            if call.func_name == operators::ADD {
                call.func_name = ADD.to_owned();
                add(Weight { steps: 2, copies: 0 });
            }
        }
        Expr::Comprehension(it) => {
            add(meter(&mut it.iter_range));
            add(meter(&mut it.accu_init));
            let mut turn = meter(&mut it.loop_step);
            if matches!(it.accu_init.expr, Expr::List(_)) {
                // What was gathered so far is copied.
                turn.copies += 1;
                gathers(&mut it.loop_step, &it.accu_var);
            }
            let condition = std::mem::take(&mut it.loop_cond);
            it.loop_cond = call(
                operators::CONDITIONAL,
                vec![call(TICK, vec![int(turn.steps), int(turn.copies)]), condition, no()],
            );
            add(meter(&mut it.result));
        }
    }
    weight
}

/// Gives the `+` by which a loop itself gathers its results its plain form back: the meter counted it already.
fn gathers(step: &mut IdedExpr, accumulator: &str) {
    let Expr::Call(call) = &mut step.expr else { return };
    if call.func_name == operators::CONDITIONAL {
        call.args.iter_mut().skip(1).for_each(|branch| gathers(branch, accumulator));
    } else if call.func_name == ADD
        && call.args.first().is_some_and(|it| it.expr == Expr::Ident(accumulator.to_owned()))
    {
        call.func_name = operators::ADD.to_owned();
    }
}

fn call(name: &str, args: Vec<IdedExpr>) -> IdedExpr {
    let call = CallExpr { func_name: name.to_owned(), target: None, args };
    IdedExpr { id: 0, expr: Expr::Call(call) }
}

fn int(value: i64) -> IdedExpr {
    IdedExpr { id: 0, expr: Expr::Literal(LiteralValue::Int(CelInt::from(value))) }
}

fn no() -> IdedExpr {
    IdedExpr { id: 0, expr: Expr::Literal(LiteralValue::Boolean(CelBool::from(false))) }
}

/// Takes from the budget of this thread; false once it is used up.
fn spend(cost: u64) -> bool {
    let mut meter = METER.get();
    match meter.left.checked_sub(cost) {
        Some(left) => meter.left = left,
        None => (meter.left, meter.spent) = (0, true),
    }
    METER.set(meter);
    !meter.spent
}

fn over() -> ExecutionError {
    METER.set(Meter { left: 0, spent: true, ..METER.get() });
    ExecutionError::function_error("cost", "over the limit")
}

fn tick(steps: i64, copies: i64) -> Result<bool, ExecutionError> {
    let copied = copies.unsigned_abs().saturating_mul(METER.get().size) / 8;
    if spend(steps.unsigned_abs().saturating_add(copied)) { Ok(true) } else { Err(over()) }
}

fn add(a: Value, b: Value) -> Result<Value, ExecutionError> {
    let fits = match (&a, &b) {
        (Value::String(a), Value::String(b)) => a.len() + b.len() <= LARGEST,
        (Value::Bytes(a), Value::Bytes(b)) => a.len() + b.len() <= LARGEST,
        (Value::List(a), Value::List(b)) => a.len() + b.len() <= MOST_ITEMS,
        _ => true,
    };
    let cost = match (&a, &b) {
        (Value::String(a), Value::String(b)) => (a.len() + b.len()) / 64,
        (Value::List(a), Value::List(b)) => a.len() + b.len(),
        _ => 0,
    };
    if !fits || !spend(cost as u64) {
        return Err(over());
    }
    a + b
}

/// `of.?key` and `of[?key]`: none where there is nothing, which the interpreter's own takes for a mistake.
fn maybe(of: Value, key: &Value) -> Result<Value, ExecutionError> {
    let of = match <&OptionalValue>::try_from(&of) {
        Ok(optional) => match optional.value() {
            Some(value) => value.clone(),
            None => return Ok(optional_of(None)),
        },
        Err(_) => of,
    };
    let found = match (&of, key) {
        (Value::Map(map), Value::String(key)) => map.get(&Key::String(Arc::clone(key))).cloned(),
        (Value::Map(map), Value::Int(key)) => map.get(&Key::Int(*key)).cloned(),
        (Value::List(list), Value::Int(at)) => {
            usize::try_from(*at).ok().and_then(|at| list.get(at).cloned())
        }
        _ => return Err(ExecutionError::NoSuchOverload),
    };
    Ok(optional_of(found))
}

fn range(count: i64) -> Result<Value, ExecutionError> {
    let count = usize::try_from(count)
        .map_err(|_| ExecutionError::function_error("lists.range", "must not be negative"))?;
    if count > MOST_ITEMS || !spend(count as u64) {
        return Err(over());
    }
    Ok(Value::List(Arc::new((0..count as i64).map(Value::Int).collect())))
}

/// `text.replace(from, to)` and `text.replace(from, to, most)`, bounded: each place may grow.
fn replace(
    kube_cel::cel::extractors::This(text): kube_cel::cel::extractors::This<Arc<String>>,
    Arguments(arguments): Arguments,
) -> Result<Value, ExecutionError> {
    let wrong = || ExecutionError::function_error("replace", "takes two strings and a number");
    let (from, to, most) = match arguments.as_slice() {
        [Value::String(from), Value::String(to)] => (from, to, -1),
        [Value::String(from), Value::String(to), Value::Int(most)] => (from, to, *most),
        _ => return Err(wrong()),
    };
    let places = text.matches(from.as_str()).count();
    let largest = text.len().saturating_add(places.saturating_mul(to.len()));
    if largest > LARGEST || !spend((largest / 64) as u64) {
        return Err(over());
    }
    let replaced = match usize::try_from(most) {
        Ok(most) => text.replacen(from.as_str(), to, most),
        Err(_) => text.replace(from.as_str(), to),
    };
    Ok(Value::String(Arc::new(replaced)))
}

#[cfg(test)]
mod tests;
