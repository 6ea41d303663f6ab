// SPDX-License-Identifier: Apache-2.0

package image

import "encoding/json"

// Document is the editor, for its tests.
type Document = document

// ParseDocument is parseDocument.
func ParseDocument(raw []byte) (*Document, error) { return parseDocument(raw) }

func (d *document) Bytes() []byte                    { return d.bytes() }
func (d *document) Get(path ...any) json.RawMessage  { return d.get(path...) }
func (d *document) Set(value any, path ...any) error { return d.set(value, path...) }
func (d *document) Remove(path ...any) bool          { return d.remove(path...) }
