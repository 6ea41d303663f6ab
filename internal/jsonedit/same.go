// SPDX-License-Identifier: Apache-2.0

package jsonedit

import (
	"bytes"
	"encoding/json"
	"reflect"
)

// Same reports whether two JSON values mean the same: spaces and the order of
// members do not count, numbers do as they are written. What is no JSON is the same
// as nothing.
func Same(a, b []byte) bool {
	x, errA := Decode(a)
	y, errB := Decode(b)
	return errA == nil && errB == nil && reflect.DeepEqual(x, y)
}

// Decode reads a JSON value, with numbers as they are written.
func Decode(raw []byte) (v any, err error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	err = dec.Decode(&v)
	return v, err
}
