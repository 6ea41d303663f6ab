// SPDX-License-Identifier: Apache-2.0

package build

import (
	"cmp"
	"path"
	"runtime/debug"
	"strings"

	"github.com/package-url/packageurl-go"
)

// GoComponents are a program of Go, Go's own library, and the modules that it was
// built from, in this order. at is its path in the image, sum the SHA-256 of its
// file, hexadecimal.
func GoComponents(info *debug.BuildInfo, at, sum string) []Component {
	main := info.Main
	app := Component{Kind: "application", Name: cmp.Or(info.Path, at), Version: goModuleVersion(main.Version), Path: at, Hashes: map[string]string{"sha256": sum},
		PURL: goPURL(main.Path, goModuleVersion(main.Version), strings.TrimPrefix(strings.TrimPrefix(info.Path, main.Path), "/"))}
	out := []Component{{Kind: "library", Name: "stdlib", Version: GoVersion(info), PURL: goPURL("stdlib", GoVersion(info), "")}}
	for _, d := range info.Deps {
		out = append(out, goModule(d))
	}
	for _, c := range out {
		if c.PURL != "" {
			app.Needs = append(app.Needs, c.PURL)
		}
	}
	return append([]Component{app}, out...)
}

// GoVersion is the version of Go that a program was built with, as 1.26.0.
func GoVersion(info *debug.BuildInfo) string {
	v, _, _ := strings.Cut(strings.TrimPrefix(info.GoVersion, "go"), " ")
	return v
}

// goModule is what was built of a module: of what it was replaced with, unless
// that is a directory of the machine.
func goModule(d *debug.Module) Component {
	name, v, sum := d.Path, goModuleVersion(d.Version), d.Sum
	if r := d.Replace; r != nil {
		if v, sum = goModuleVersion(r.Version), r.Sum; v != "" {
			name = r.Path
		}
	}
	c := Component{Kind: "library", Name: name, Version: v, PURL: goPURL(name, v, "")}
	if sum != "" {
		c.Sums = map[string]string{"h1": sum}
	}
	return c
}

// goModuleVersion is that of a module, if it has one.
func goModuleVersion(s string) string {
	if s == "(devel)" {
		return ""
	}
	return s
}

// goPURL is the package URL of a module, or of a package in it; "" for what has
// none.
func goPURL(module, version, subpath string) string {
	dir, name := path.Split(module)
	u := packageurl.NewPackageURL("golang", strings.TrimSuffix(dir, "/"), name, version, nil, subpath).ToString()
	if _, err := packageurl.FromString(u); err != nil {
		return ""
	}
	return u
}
