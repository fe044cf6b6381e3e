//! The messages that mutations are made of: `Object{…}` for a part of an object, `JSONPatch{…}` for one operation.
//!
//! The interpreter has no messages, so they become maps once the expression is parsed: by then their names, and the
//! fields of a patch, have been checked.

use kube_cel::cel::{
    IdedExpr,
    common::{
        ast::{EntryExpr, Expr, IdedEntryExpr, LiteralValue, MapEntryExpr, MapExpr, operators},
        types::CelString,
    },
};

use super::{program::CompileError, value::unescape};

/// What an expression of a mutation evaluates to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A part of an object, to be merged into it.
    Object,
    /// A list of operations.
    Patch,
}

const OBJECT: &str = "Object";
const PATCH: &str = "JSONPatch";
const PATCH_FIELDS: [&str; 4] = ["op", "path", "from", "value"];

fn invalid(why: String) -> CompileError {
    CompileError::Invalid(why)
}

/// Makes the messages of an expression maps; refuses those that there are not, and an outcome that is seen to be
/// another than the wanted one.
pub(super) fn resolve(expr: &mut IdedExpr, outcome: Outcome) -> Result<(), CompileError> {
    check(expr, outcome)?;
    rewrite(expr)
}

fn check(expr: &IdedExpr, outcome: Outcome) -> Result<(), CompileError> {
    let name = match outcome {
        Outcome::Object => OBJECT,
        Outcome::Patch => "list(JSONPatch)",
    };
    let wrong = || Err(invalid(format!("must evaluate to {name}")));
    match (&expr.expr, outcome) {
        (Expr::Call(call), _) if call.func_name == operators::CONDITIONAL => {
            call.args.iter().skip(1).try_for_each(|branch| check(branch, outcome))
        }
        (Expr::Struct(made), Outcome::Object) if made.type_name == OBJECT => Ok(()),
        (Expr::List(list), Outcome::Patch) => {
            list.elements.iter().try_for_each(|it| match &it.expr {
                Expr::Struct(made) if made.type_name == PATCH => Ok(()),
                Expr::Struct(_) | Expr::Map(_) | Expr::Literal(_) | Expr::List(_) => wrong(),
                _ => Ok(()),
            })
        }
        (Expr::Struct(_) | Expr::Map(_) | Expr::Literal(_) | Expr::List(_), _) => wrong(),
        _ => Ok(()),
    }
}

fn rewrite(expr: &mut IdedExpr) -> Result<(), CompileError> {
    match &mut expr.expr {
        Expr::Literal(_) | Expr::Ident(_) | Expr::Unspecified => {}
        Expr::Select(select) => rewrite(&mut select.operand)?,
        Expr::List(list) => list.elements.iter_mut().try_for_each(rewrite)?,
        Expr::Map(map) => {
            for entry in &mut map.entries {
                if let EntryExpr::MapEntry(entry) = &mut entry.expr {
                    rewrite(&mut entry.key)?;
                    rewrite(&mut entry.value)?;
                }
            }
        }
        Expr::Call(call) => {
            if let Some(target) = &mut call.target {
                rewrite(target)?;
            }
            call.args.iter_mut().try_for_each(rewrite)?;
        }
        Expr::Comprehension(it) => {
            let it = &mut **it;
            for part in [
                &mut it.iter_range,
                &mut it.accu_init,
                &mut it.loop_cond,
                &mut it.loop_step,
                &mut it.result,
            ] {
                rewrite(part)?;
            }
        }
        Expr::Struct(made) => {
            let name = std::mem::take(&mut made.type_name);
            let entries = std::mem::take(&mut made.entries);
            if name != PATCH && name != OBJECT && !name.starts_with("Object.") {
                return Err(invalid(format!("undeclared reference to '{name}'")));
            }
            let entries: Result<_, _> = entries.into_iter().map(|it| entry(&name, it)).collect();
            expr.expr = Expr::Map(MapExpr { entries: entries? });
        }
    }
    Ok(())
}

/// A field of a message as the entry of a map.
fn entry(message: &str, entry: IdedEntryExpr) -> Result<IdedEntryExpr, CompileError> {
    let patch = message == PATCH;
    let EntryExpr::StructField(mut field) = entry.expr else {
        return Err(invalid(format!("{message} is made of fields")));
    };
    if patch && !PATCH_FIELDS.contains(&field.field.as_str()) {
        return Err(invalid(format!("undefined field '{}' of {PATCH}", field.field)));
    }
    if !patch {
        named(&field.value, &format!("{message}.{}", field.field))?;
    }
    rewrite(&mut field.value)?;
    let key = LiteralValue::String(CelString::from(unescape(&field.field)));
    let key = IdedExpr { id: entry.id, expr: Expr::Literal(key) };
    let field = MapEntryExpr { key, value: field.value, optional: field.optional };
    Ok(IdedEntryExpr { id: entry.id, expr: EntryExpr::MapEntry(field) })
}

/// A message is named after the path at which it stands.
fn named(value: &IdedExpr, path: &str) -> Result<(), CompileError> {
    match &value.expr {
        Expr::Struct(made) if made.type_name != path => Err(invalid(format!(
            "unexpected type name {:?}, expected {path:?}, which is the path of the field",
            made.type_name
        ))),
        Expr::List(list) => list.elements.iter().try_for_each(|it| named(it, path)),
        _ => Ok(()),
    }
}
