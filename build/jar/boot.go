// SPDX-License-Identifier: Apache-2.0

package jar

import (
	"archive/zip"
	"cmp"
	"path/filepath"
	"slices"
	"strings"

	"github.com/dray-tools/dray/oci"
)

// A bootLayout is where an executable archive of Spring Boot keeps what (Spring
// Boot, "The Executable Jar Format").
type bootLayout struct {
	classes string
	libs    []string // directories
}

func (p *plan) bootLayout() bootLayout {
	dir := "BOOT-INF/"
	if !p.has(dir) {
		dir = "WEB-INF/"
	}
	return bootLayout{
		classes: cmp.Or(p.get("Spring-Boot-Classes"), dir+"classes/"),
		libs:    []string{cmp.Or(p.get("Spring-Boot-Lib"), dir+"lib/"), dir + "lib-provided/"},
	}
}

func (l bootLayout) isLibrary(name string) bool {
	return strings.HasSuffix(name, ".jar") && slices.ContainsFunc(l.libs, func(dir string) bool { return strings.HasPrefix(name, dir) })
}

// boot plans an executable archive of Spring Boot.
func (p *plan) boot() error {
	main := p.get("Main-Class")
	if main == "" {
		return oci.Errorf(oci.ErrInvalid, "the manifest has no Main-Class, which would be Spring Boot's loader")
	}
	l := p.bootLayout()
	order, err := p.bootOrder(l)
	if err != nil {
		return err
	}
	for _, f := range order {
		lib, err := p.nested(f)
		if err != nil {
			return err
		}
		p.libraries = append(p.libraries, lib)
	}
	switch p.o.Mode {
	case Thin:
		return p.thin(l)
	case Packaged:
		jar := p.at(filepath.Base(p.path))
		p.put(partApp, p.whole(jar))
		p.entrypoint = p.startJar(jar, "")
		return nil
	}
	index, err := p.layersIndex()
	if err != nil {
		return err
	}
	if index != nil {
		p.order(index.layers...)
	} else {
		p.order(partLibraries, partLoader, partSnapshots, partResources, partClasses)
	}
	for _, f := range p.entries {
		if isSignature(f.Name) {
			continue
		}
		name := l.partOf(f.Name)
		if index != nil {
			name = index.layer(f.Name)
		}
		p.put(name, p.entry(f, p.at(f.Name)))
	}
	for _, lib := range p.libraries {
		lib.at = p.at(lib.entry.Name)
	}
	p.entrypoint = func(s style) []string { return p.command("-cp", s.path(p.root), main) }
	return nil
}

// partOf is where an entry goes that no index knows.
func (l bootLayout) partOf(name string) string {
	switch {
	case l.isLibrary(name) && isSnapshot(name):
		return partSnapshots
	case l.isLibrary(name):
		return partLibraries
	case strings.HasPrefix(name, "org/"):
		return partLoader
	case strings.HasSuffix(name, ".class"):
		return partClasses
	}
	return partResources
}

// bootOrder are the libraries in the order in which Spring Boot looks through
// them: that of the classpath index, and then that of the archive.
func (p *plan) bootOrder(l bootLayout) (all []*zip.File, err error) {
	seen := map[*zip.File]bool{}
	add := func(f *zip.File) {
		if f != nil && l.isLibrary(f.Name) && !seen[f] {
			seen[f] = true
			all = append(all, f)
		}
	}
	if name := p.get("Spring-Boot-Classpath-Index"); name != "" {
		text, err := p.text(name)
		if err != nil {
			return nil, err
		}
		for n, line := range lines(text) {
			entry, ok := item(line, "")
			if !ok {
				return nil, oci.Errorf(oci.ErrInvalid, "%s:%d: want - \"NAME\"", name, n+1)
			}
			f := p.names[entry]
			if f == nil && entry != "" { // indexes of early versions have names without a directory
				f = p.names[l.libs[0]+entry]
			}
			add(f)
		}
	}
	for _, f := range p.entries {
		add(f)
	}
	return all, nil
}

// A layersIndex says which entries belong together (Spring Boot, "Layer Index
// File").
type layersIndex struct {
	layers []string
	of     map[string]int // of entries, and of directories with a slash at their end
}

// layersIndex reads the index of layers, nil if there is none.
func (p *plan) layersIndex() (*layersIndex, error) {
	name := cmp.Or(p.get("Spring-Boot-Layers-Index"), "BOOT-INF/layers.idx")
	text, err := p.text(name)
	if err != nil || text == nil {
		return nil, err
	}
	return parseLayers(name, text)
}

// parseLayers reads the lines of an index, nil if it names no layer.
func parseLayers(name string, text []byte) (*layersIndex, error) {
	x := &layersIndex{of: map[string]int{}}
	for n, line := range lines(text) {
		layer, ok := item(strings.TrimSuffix(line, ":"), "")
		if ok && strings.HasSuffix(line, ":") {
			if slices.Contains(x.layers, layer) || len(x.layers) >= maxLayers {
				return nil, oci.Errorf(oci.ErrInvalid, "%s:%d: layer %s is there twice, or there are more than %d", name, n+1, oci.Quote(layer), maxLayers)
			}
			x.layers = append(x.layers, layer)
			continue
		}
		entry, ok := item(line, "  ")
		if line != "" && (!ok || len(x.layers) == 0) {
			return nil, oci.Errorf(oci.ErrInvalid, "%s:%d: want - \"LAYER\": and below it lines with - \"ENTRY\"", name, n+1)
		}
		if _, twice := x.of[entry]; !twice {
			x.of[entry] = len(x.layers) - 1
		}
	}
	if len(x.layers) == 0 {
		return nil, nil
	}
	return x, nil
}

// maxLayers bounds the layers that an index can ask for.
const maxLayers = 100

// layer is that of an entry: the first that names it or a directory above it; the
// last one of those that none names.
func (x *layersIndex) layer(name string) string {
	named := len(x.layers) - 1
	if n, ok := x.of[name]; ok {
		named = n
	}
	for at := range name {
		if name[at] != '/' {
			continue
		}
		if n, ok := x.of[name[:at+1]]; ok && n < named {
			named = n
		}
	}
	return x.layers[named]
}

// lines are those of an index, without what marks their ends.
func lines(text []byte) (all []string) {
	for line := range strings.SplitSeq(strings.TrimRight(string(text), "\r\n"), "\n") {
		all = append(all, strings.TrimRight(line, "\r \t"))
	}
	return all
}

// item is the text of a line of an index, - "TEXT", that begins as told.
func item(line, indent string) (string, bool) {
	rest, ok := strings.CutPrefix(line, indent+"- ")
	if !ok {
		return "", false
	}
	rest = strings.TrimSpace(rest)
	if len(rest) >= 2 && rest[0] == '"' && rest[len(rest)-1] == '"' {
		rest = rest[1 : len(rest)-1]
	}
	return rest, rest != ""
}
