// SPDX-License-Identifier: Apache-2.0

package jar

import "bytes"

var (
	HasMain       = hasMain
	ParseManifest = parseManifest
	CheckName     = checkName
	VersionOf     = versionOf
	FileName      = func(name string) (string, string) { c := fileName(name); return c.artifact, c.version }
)

// Line is an attribute as it is written.
func Line(name, value string) string {
	var b bytes.Buffer
	line(&b, name, value)
	return b.String()
}

// Index reads an index of layers, and finds that of an entry.
func Index(text []byte, name string) (layers []string, layer string, err error) {
	x, err := parseLayers("layers.idx", text)
	if x == nil || err != nil {
		return nil, "", err
	}
	return x.layers, x.layer(name), nil
}

// Look reads bytes as an archive, as far as building an image of it does before
// it writes layers.
func Look(b []byte) error {
	a, err := archiveIn(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return err
	}
	a.path = "app.jar"
	p := &plan{archive: a, root: "/app"}
	if p.kind = a.kind(p.o); p.kind == kindWAR {
		return p.war()
	} else if p.kind == kindBoot {
		return p.boot()
	}
	_, err = a.findMain()
	return err
}
