// SPDX-License-Identifier: Apache-2.0

// These tests are the rules of the house: who may import whom, how
// long a function may be, what the library may depend on.
package house_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/dray-tools/dray/"

// mayImport is the table of docs/architecture.md: the packages of dray that
// each package may import. Tests are not held to it.
var mayImport = map[string][]string{
	"oci":                 {},
	"oci/ocitest":         {"oci"},
	"ref":                 {"oci"},
	"store":               {"oci", "ref", "store/*"},
	"store/registry":      {"oci", "ref", "internal/transport"},
	"store/layout":        {"oci", "ref", "internal/disk"},
	"store/mem":           {"oci", "ref"},
	"store/wrap":          {"oci", "internal/disk"},
	"store/archive":       {"oci", "layer"},
	"store/dir":           {"oci", "internal/disk"},
	"store/daemon":        {"oci", "store/archive"},
	"store/podman":        {"oci", "store/dir"},
	"layer":               {"oci", "internal/disk"},
	"image":               {"oci", "layer"},
	"input":               {"oci", "layer", "internal/disk", "internal/temp"},
	"convert":             {"oci", "layer", "image", "internal/disk", "internal/jsonedit", "internal/temp"},
	"edit":                {"oci", "layer", "image", "internal/jsonedit"},
	"indexspec":           {"oci"},
	"rebase":              {"oci", "layer", "image", "edit", "internal/jsonedit"},
	"internal/jsonedit":   {"oci"},
	"build":               {"oci", "layer", "image", "input", "edit"},
	"build/golang":        {"oci", "layer", "input", "edit", "build", "internal/disk", "internal/temp"},
	"build/files":         {"oci", "layer", "input", "edit", "build"},
	"build/jar":           {"oci", "layer", "input", "edit", "build"},
	"build/dockerfile":    {"oci", "layer", "image", "input", "edit", "build", "build/place"},
	"build/place":         {"oci", "layer", "image", "input", "build", "internal/disk", "internal/temp"},
	"build/static":        {"oci", "layer", "input", "edit", "build"},
	"build/attest":        {"oci", "build"},
	"build/spec":          {"oci", "edit", "layer"},
	"kubeyaml":            {"oci"},
	"internal/watch":      {},
	"check":               {"oci", "layer", "image"},
	"compare":             {"oci", "layer", "image", "internal/packages"},
	"internal/packages":   {"oci"},
	"internal/temp":       {},
	"internal/disk":       {"oci"},
	"transfer":            {"oci"},
	"serve":               {"oci"},
	"internal/transport":  {"oci"},
	"internal/credential": {"oci", "internal/transport"},
	"internal/registries": {"oci"},
	"internal/house":      {},
	"internal/peers":      {},
	"internal/demo/hello": {},
	"":                    {"oci", "ref", "layer", "image", "input", "convert", "edit", "indexspec", "rebase", "build", "check", "compare", "store", "store/*", "transfer", "internal/transport", "internal/credential", "internal/disk", "internal/registries", "internal/temp"},
	"internal/cli":        {"", "oci", "ref", "layer", "image", "input", "convert", "edit", "indexspec", "rebase", "build", "build/*", "kubeyaml", "check", "compare", "transfer", "serve", "store/*", "internal/credential", "internal/watch"},
	"cmd/dray":            {"internal/cli"},
}

// external lists what the kernel may import from elsewhere.
var external = map[string][]string{
	"oci": {"github.com/opencontainers/image-spec", "github.com/opencontainers/go-digest"},
}

// files parses every Go file of the module that is not a test.
func files(t *testing.T, visit func(pkg, path string, fset *token.FileSet, f *ast.File)) {
	t.Helper()
	root := filepath.Join("..", "..")
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name := d.Name(); d.IsDir() && path != root && (strings.HasPrefix(name, ".") || name == "testdata" || name == "bin") {
			return fs.SkipDir
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		fset := token.NewFileSet()
		f, err := parser.ParseFile(fset, path, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, filepath.Dir(path))
		if rel = filepath.ToSlash(rel); rel == "." {
			rel = ""
		}
		visit(rel, path, fset, f)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestImports(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	files(t, func(pkg, path string, _ *token.FileSet, f *ast.File) {
		seen[pkg] = true
		allowed, known := mayImport[pkg]
		if !known {
			t.Errorf("package %q is not in the import table", pkg)
		}
		for _, i := range f.Imports {
			name := strings.Trim(i.Path.Value, `"`)
			inside := strings.HasPrefix(name+"/", module)
			switch rel := strings.TrimSuffix(strings.TrimPrefix(name+"/", module), "/"); {
			case inside && !slices.Contains(allowed, rel) && !slices.Contains(allowed, strings.SplitN(rel, "/", 2)[0]+"/*"):
				t.Errorf("%s: %q may not import %q", path, pkg, rel)
			case !inside && external[pkg] != nil && strings.Contains(name, ".") &&
				!slices.ContainsFunc(external[pkg], func(e string) bool { return name == e || strings.HasPrefix(name, e+"/") }):
				t.Errorf("%s: %q may not import %s", path, pkg, name)
			}
		}
	})
	for pkg := range mayImport {
		if !seen[pkg] && pkg != "internal/house" {
			t.Errorf("the import table names %q, which is not there", pkg)
		}
	}
}

// Functions longer than this hide their parts.
const maxLines = 80

func TestFunctionLength(t *testing.T) {
	t.Parallel()
	files(t, func(_, path string, fset *token.FileSet, f *ast.File) {
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok {
				if n := fset.Position(fn.End()).Line - fset.Position(fn.Pos()).Line; n > maxLines {
					t.Errorf("%s: %s has %d lines, more than %d", path, fn.Name.Name, n, maxLines)
				}
			}
		}
	})
}

// Every exported name of the library says what it is.
func TestComments(t *testing.T) {
	t.Parallel()
	files(t, func(pkg, path string, _ *token.FileSet, f *ast.File) {
		if !strings.Contains(firstComment(f), "SPDX-License-Identifier: Apache-2.0") {
			t.Errorf("%s does not begin with its licence", path)
		}
		if strings.HasPrefix(pkg, "internal/") || pkg == "cmd/dray" {
			return
		}
		for _, d := range f.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if ok && fn.Name.IsExported() && fn.Doc == nil && exportedReceiver(fn) {
				t.Errorf("%s: %s has no comment", path, fn.Name.Name)
			}
		}
	})
}

func firstComment(f *ast.File) string {
	if len(f.Comments) == 0 {
		return ""
	}
	return f.Comments[0].List[0].Text
}

// exportedReceiver reports whether a reader of the documentation sees the
// function. What the standard library's interfaces ask for explains itself.
func exportedReceiver(fn *ast.FuncDecl) bool {
	if slices.Contains([]string{"String", "Error", "Unwrap", "Read", "Write", "Close", "Is"}, fn.Name.Name) {
		return false
	}
	if fn.Recv == nil {
		return true
	}
	typ := fn.Recv.List[0].Type
	if star, ok := typ.(*ast.StarExpr); ok {
		typ = star.X
	}
	name, ok := typ.(*ast.Ident)
	return ok && name.IsExported()
}

// Nothing below cmd and the CLI reads the environment.
func TestEnvironment(t *testing.T) {
	t.Parallel()
	files(t, func(pkg, path string, fset *token.FileSet, f *ast.File) {
		if pkg == "cmd/dray" || pkg == "internal/cli" || strings.HasPrefix(pkg, "internal/demo") {
			return
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if s, ok := n.(*ast.SelectorExpr); ok {
				if x, ok := s.X.(*ast.Ident); ok && x.Name == "os" && slices.Contains([]string{"Getenv", "LookupEnv", "Environ", "ExpandEnv"}, s.Sel.Name) {
					t.Errorf("%s: reads the environment", fset.Position(n.Pos()))
				}
			}
			return true
		})
	})
}

// The library stays light: who imports dray gets few modules with it.
func TestModules(t *testing.T) {
	t.Parallel()
	cmd := exec.Command("go", "list", "-deps", "-f", "{{with .Module}}{{.Path}}{{end}}", ".")
	cmd.Dir = filepath.Join("..", "..")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	mods := strings.Fields(string(out))
	slices.Sort(mods)
	mods = slices.Compact(mods)
	t.Logf("%d modules: %v", len(mods), mods)
	if len(mods) > 25 {
		t.Errorf("the library needs %d modules, more than 25", len(mods))
	}
	raw, err := os.ReadFile(filepath.Join("..", "..", "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(raw), "\ngo 1.26.3\n") {
		t.Error("a dependency has raised the Go version of go.mod beyond 1.26.3")
	}
}
