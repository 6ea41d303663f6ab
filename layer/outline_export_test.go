// SPDX-License-Identifier: Apache-2.0

package layer

import (
	"bytes"
	"crypto/sha256"
)

// OutlineFile is the outline as it is kept.
func (o *Outline) OutlineFile() []byte {
	var b bytes.Buffer
	if err := o.write(&b); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// Packed is how many bytes the entries take.
func (o *Outline) Packed() int { return len(o.packed) }

// ParseOutline is for the tests.
var ParseOutline = parseOutline

// SignOutline gives the first lines and the entries of an outline a digest that
// fits.
func SignOutline(head string, packed []byte) []byte {
	raw := append([]byte(outlineMagic+head), packed...)
	h := sha256.Sum256(raw)
	return append(raw, h[:]...)
}
