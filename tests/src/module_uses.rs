//! Which modules of a crate use which, and the circles among them.
//!
//! A module is a file: `a.rs` and `a/b.rs` are two, so that a circle inside a folder is seen. An inline `mod` belongs to its file.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{File, Ident, ItemMod, ItemUse, Macro, UseTree, Visibility};

/// The path of a module in its crate; empty for the root.
pub type Module = Vec<String>;

/// The modules of a crate, each with those that its code names.
pub type Uses = BTreeMap<Module, BTreeSet<Module>>;

/// Reads a crate's sources (`lib.rs` or `main.rs`, and the modules beside it).
///
/// A name that a module re-exports counts as its original module's. The root is left out: it declares the modules, and starts them.
///
/// # Errors
///
/// A folder or file that cannot be read, or a file that is no Rust.
pub fn uses(source: &Path) -> anyhow::Result<Uses> {
    let mut files = BTreeMap::new();
    read(source, &Module::new(), &mut files)?;
    Ok(uses_of(&files))
}

/// Groups of modules that need each other, by themselves or through others.
#[must_use]
pub fn circles(uses: &Uses) -> BTreeSet<Vec<Module>> {
    let needs: BTreeMap<&Module, BTreeSet<&Module>> =
        uses.keys().map(|module| (module, reached(uses, module))).collect();
    let needs = |one: &Module, other: &Module| needs.get(one).is_some_and(|needs| needs.contains(other));
    let together = |one: &Module, other: &Module| needs(one, other) && needs(other, one);
    let of = |module: &Module| uses.keys().filter(|other| together(module, other)).cloned().collect();
    uses.keys().filter(|module| together(module, module)).map(of).collect()
}

/// Everything that a module needs.
fn reached<'a>(uses: &'a Uses, from: &'a Module) -> BTreeSet<&'a Module> {
    let (mut reached, mut open) = (BTreeSet::new(), vec![from]);
    while let Some(module) = open.pop() {
        open.extend(uses.get(module).into_iter().flatten().filter(|next| reached.insert(*next)));
    }
    reached
}

fn read(folder: &Path, module: &Module, files: &mut BTreeMap<Module, File>) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let is_root = module.is_empty() && ["lib", "main"].contains(&&*name);
        let own = if is_root { Module::new() } else { child(module, &name) };
        if path.is_dir() {
            read(&path, &own, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path)?;
            let file = syn::parse_file(&text).map_err(|error| anyhow::anyhow!("{}: {error}", path.display()))?;
            // Where a crate has both, the modules are the library's.
            if name == "main" && is_root {
                files.entry(own).or_insert(file);
            } else {
                files.insert(own, file);
            }
        }
    }
    Ok(())
}

fn uses_of(files: &BTreeMap<Module, File>) -> Uses {
    let modules: BTreeSet<Module> = files.keys().cloned().collect();
    let named: BTreeMap<&Module, Named> =
        files.iter().map(|(module, file)| (module, Named::by(module, file))).collect();
    let resolve = |from: &Module, path: &[String]| resolved(&modules, &named, from, path);
    let used = |module: &Module, named: &Named| {
        let used = named.paths.iter().filter_map(|(from, path)| resolve(from, path));
        used.filter(|used| used != module && !used.is_empty()).collect()
    };
    let others = named.iter().filter(|(module, _)| !module.is_empty());
    others.map(|(module, named)| ((*module).clone(), used(module, named))).collect()
}

/// The module of what a path names, if it is of this crate.
fn resolved(
    modules: &BTreeSet<Module>,
    named: &BTreeMap<&Module, Named>,
    from: &Module,
    path: &[String],
) -> Option<Module> {
    let mut at = from.clone();
    let mut path = path.iter().peekable();
    match path.peek()?.as_str() {
        "crate" => {
            path.next();
            at.clear();
        }
        "self" => {
            path.next();
        }
        "super" => {
            while path.next_if(|segment| *segment == "super").is_some() {
                at.pop();
            }
        }
        first if modules.contains(&child(from, first)) => {}
        _ => return None,
    }
    for segment in path {
        let below = child(&at, segment);
        if modules.contains(&below) {
            at = below;
            continue;
        }
        if let Some(original) = named.get(&at).and_then(|named| named.exports.get(segment)) {
            return resolved(modules, named, &at, original).or(Some(at));
        }
        break;
    }
    // An inline module belongs to its file.
    while !modules.contains(&at) {
        at.pop()?;
    }
    Some(at)
}

fn child(module: &Module, name: &str) -> Module {
    module.iter().cloned().chain([name.to_owned()]).collect()
}

/// What the code of a file names.
#[derive(Default)]
struct Named {
    /// The module at this place, which may be inline.
    at: Module,
    /// Each path with the module in which it is written.
    paths: BTreeSet<(Module, Vec<String>)>,
    /// The names that `use` makes part of the file's module, with their paths.
    exports: BTreeMap<String, Vec<String>>,
    /// How many inline modules are open.
    inline: usize,
}

impl Named {
    fn by(module: &Module, file: &File) -> Self {
        let mut named = Self { at: module.clone(), ..Self::default() };
        named.visit_file(file);
        named
    }

    fn path<'a>(&mut self, segments: impl IntoIterator<Item = &'a Ident>) {
        self.paths.insert((self.at.clone(), segments.into_iter().map(ToString::to_string).collect()));
    }

    fn tree(&mut self, tree: &UseTree, mut path: Vec<String>) {
        match tree {
            UseTree::Path(outer) => {
                path.push(outer.ident.to_string());
                self.tree(&outer.tree, path);
            }
            UseTree::Group(group) => group.items.iter().for_each(|item| self.tree(item, path.clone())),
            UseTree::Glob(_) => {
                self.paths.insert((self.at.clone(), path));
            }
            UseTree::Name(name) => self.used(path, &name.ident, &name.ident),
            UseTree::Rename(rename) => self.used(path, &rename.ident, &rename.rename),
        }
    }

    fn used(&mut self, mut path: Vec<String>, name: &Ident, here: &Ident) {
        if name != "self" {
            path.push(name.to_string());
        }
        if self.inline == 0 {
            self.exports.insert(here.to_string(), path.clone());
        }
        self.paths.insert((self.at.clone(), path));
    }

    /// The paths in a macro's tokens, which are no syntax yet.
    fn tokens(&mut self, tokens: TokenStream) {
        let (mut path, mut colons): (Vec<Ident>, usize) = (Vec::new(), 0);
        for token in tokens {
            match token {
                TokenTree::Ident(ident) => {
                    if colons != 2 {
                        self.path(&std::mem::take(&mut path));
                    }
                    path.push(ident);
                    colons = 0;
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
                TokenTree::Group(group) => {
                    self.path(&std::mem::take(&mut path));
                    self.tokens(group.stream());
                    colons = 0;
                }
                TokenTree::Punct(_) | TokenTree::Literal(_) => {
                    self.path(&std::mem::take(&mut path));
                    colons = 0;
                }
            }
        }
        self.path(&path);
    }
}

impl Visit<'_> for Named {
    fn visit_item_mod(&mut self, item: &ItemMod) {
        if item.content.is_some() {
            self.at.push(item.ident.to_string());
            self.inline += 1;
            visit::visit_item_mod(self, item);
            self.inline -= 1;
            self.at.pop();
        }
    }

    fn visit_item_use(&mut self, item: &ItemUse) {
        self.tree(&item.tree, Vec::new());
    }

    /// `pub(super)` names no module that is used.
    fn visit_visibility(&mut self, _: &Visibility) {}

    fn visit_path(&mut self, path: &syn::Path) {
        self.path(path.segments.iter().map(|segment| &segment.ident));
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, item: &Macro) {
        self.tokens(item.tokens.clone());
        visit::visit_macro(self, item);
    }
}
