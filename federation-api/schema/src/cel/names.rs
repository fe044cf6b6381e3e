//! What may stand in an expression: variables in scope, functions that exist, constructs that are evaluated here.

use kube_cel::cel::{
    IdedExpr,
    common::ast::{CallExpr, EntryExpr, Expr, LiteralValue, operators},
};
use regex::Regex;

use super::program::{CompileError, has_function};

/// How deep an expression may be nested: its evaluation uses the stack.
const DEPTH: usize = 96;

/// Functions of Kubernetes' CEL that are not evaluated here.
const ABSENT: &[&str] = &[
    "cel.bind",
    "cel.block",
    "sortBy",
    "transformList",
    "transformMap",
    "transformMapEntry",
    "existsOne",
    "type",
    "dyn",
    "getKey",
];

/// Functions whose argument is a regular expression.
pub(super) const REGEX: &[&str] = &["matches", "find", "findAll"];

/// Checks a whole expression against the variables that it may use, and tells how deep it is.
pub(super) fn check(expr: &IdedExpr, variables: &[&str]) -> Result<usize, CompileError> {
    let mut scope =
        Scope { names: variables.iter().map(|name| (*name).to_owned()).collect(), deepest: 0 };
    walk(expr, &mut scope, 0)?;
    Ok(scope.deepest)
}

struct Scope {
    names: Vec<String>,
    deepest: usize,
}

fn walk(expr: &IdedExpr, scope: &mut Scope, depth: usize) -> Result<(), CompileError> {
    scope.deepest = scope.deepest.max(depth);
    if depth > DEPTH {
        return Err(CompileError::Unsupported(format!("it is nested deeper than {DEPTH} levels")));
    }
    let next = depth + 1;
    match &expr.expr {
        Expr::Literal(_) => Ok(()),
        Expr::Ident(name) if scope.names.contains(name) => Ok(()),
        Expr::Ident(name) if is_type(name) => {
            Err(CompileError::Unsupported(format!("types as values are not supported: {name}")))
        }
        Expr::Ident(name) if name == "authorizer" => {
            Err(CompileError::Unsupported("authorizer is not supported".to_owned()))
        }
        Expr::Ident(name) => {
            Err(CompileError::Invalid(format!("undeclared reference to '{name}'")))
        }
        Expr::Select(select) => walk(&select.operand, scope, next),
        Expr::List(list) => list.elements.iter().try_for_each(|it| walk(it, scope, next)),
        Expr::Map(map) => map.entries.iter().try_for_each(|entry| match &entry.expr {
            EntryExpr::MapEntry(entry) => {
                walk(&entry.key, scope, next)?;
                walk(&entry.value, scope, next)
            }
            EntryExpr::StructField(_) => Err(no_messages()),
        }),
        Expr::Call(call) => self::call(call, scope, next),
        Expr::Comprehension(loops) => {
            if loops.iter_var2.is_some() {
                let what = "loops with two variables are not supported".to_owned();
                return Err(CompileError::Unsupported(what));
            }
            walk(&loops.iter_range, scope, next)?;
            walk(&loops.accu_init, scope, next)?;
            let outer = scope.names.len();
            scope.names.push(loops.accu_var.clone());
            scope.names.push(loops.iter_var.clone());
            walk(&loops.loop_cond, scope, next)?;
            walk(&loops.loop_step, scope, next)?;
            scope.names.pop();
            walk(&loops.result, scope, next)?;
            scope.names.truncate(outer);
            Ok(())
        }
        Expr::Struct(_) | Expr::Unspecified => Err(no_messages()),
    }
}

fn no_messages() -> CompileError {
    CompileError::Invalid("messages cannot be made here".to_owned())
}

fn call(call: &CallExpr, scope: &mut Scope, depth: usize) -> Result<(), CompileError> {
    let name = call.func_name.as_str();
    let qualified = call.target.as_deref().and_then(|target| match &target.expr {
        Expr::Ident(prefix) if !scope.names.contains(prefix) => Some(format!("{prefix}.{name}")),
        _ => None,
    });
    let known = qualified.as_deref().filter(|name| has_function(name) || ABSENT.contains(name));
    let whole = known.unwrap_or(name);
    if ABSENT.contains(&whole) {
        return Err(CompileError::Unsupported(format!("function {whole} is not supported")));
    }
    if !is_operator(whole) && !has_function(whole) {
        return Err(CompileError::Invalid(format!("undeclared reference to function '{whole}'")));
    }
    if REGEX.contains(&whole)
        && let Some(IdedExpr { expr: Expr::Literal(LiteralValue::String(text)), .. }) =
            call.args.last()
        && let Err(error) = Regex::new(text.inner())
    {
        return Err(CompileError::Invalid(format!("invalid regular expression: {error}")));
    }
    if known.is_none()
        && let Some(target) = &call.target
    {
        walk(target, scope, depth)?;
    }
    call.args.iter().try_for_each(|argument| walk(argument, scope, depth))
}

pub(super) fn is_operator(name: &str) -> bool {
    !name.starts_with(|first: char| first.is_ascii_alphabetic()) || name == operators::IN
}

fn is_type(name: &str) -> bool {
    matches!(
        name,
        "int" | "uint" | "double" | "bool" | "string" | "bytes" | "list" | "map" | "null_type"
    )
}
