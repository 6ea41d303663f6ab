// SPDX-License-Identifier: Apache-2.0

package jar

import (
	"bytes"
	"strings"

	"github.com/dray-tools/dray/oci"
)

const manifestName = "META-INF/MANIFEST.MF"

// A manifest is the main section of an archive's manifest, by names in lower case
// (JAR File Specification, "JAR Manifest").
type manifest map[string]string

// get is the value of an attribute, whatever the case of its name.
func (m manifest) get(name string) string { return m[strings.ToLower(name)] }

// parseManifest reads the main section. Lines end in any of the three ways, and go
// on in the next one if that begins with a space.
func parseManifest(b []byte) (manifest, error) {
	b = bytes.TrimPrefix(b, []byte("\xef\xbb\xbf"))
	b = bytes.ReplaceAll(bytes.ReplaceAll(b, []byte("\r\n"), []byte("\n")), []byte("\r"), []byte("\n"))
	m := manifest{}
	last := ""
	for n := 1; len(b) > 0; n++ {
		line, rest, _ := bytes.Cut(b, []byte("\n"))
		b = rest
		if len(line) == 0 {
			break
		}
		if line[0] == ' ' {
			if last == "" {
				return nil, oci.Errorf(oci.ErrInvalid, "%s:%d: nothing that this line could go on", manifestName, n)
			}
			m[last] += string(line[1:])
			continue
		}
		name, value, ok := strings.Cut(string(line), ":")
		if !ok || name == "" {
			return nil, oci.Errorf(oci.ErrInvalid, "%s:%d: want NAME: VALUE", manifestName, n)
		}
		last = strings.ToLower(name)
		m[last] = strings.TrimPrefix(value, " ")
	}
	for name, value := range m {
		m[name] = strings.TrimSpace(value)
	}
	return m, nil
}

// line writes an attribute, in lines of at most 72 bytes.
func line(w *bytes.Buffer, name, value string) {
	text := name + ": " + value
	for most := 72; len(text) > most; most = 71 { // the space of the next line counts
		end := most
		for end > 1 && text[end]&0xc0 == 0x80 { // not within a letter
			end--
		}
		w.WriteString(text[:end] + "\r\n ")
		text = text[end:]
	}
	w.WriteString(text + "\r\n")
}
