// SPDX-License-Identifier: Apache-2.0

package oci

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"
)

// CheckJSON refuses a document that two readers could understand differently:
// invalid UTF-8, a key twice in one object, a known key in other letter case
// (encoding/json would take it), anything after the value, more than 64 levels
// (image-spec, considerations.md, "Canonicalization" and RFC 7493). known
// lists the keys whose spelling matters. ErrInvalid if so.
func CheckJSON(raw []byte, known ...string) error {
	if !utf8.Valid(raw) {
		return Errorf(ErrInvalid, "JSON is not valid UTF-8")
	}
	exact := make(map[string]string, len(known))
	for _, k := range known {
		exact[fold(k)] = k
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	if err := checkValue(dec, exact, 0); err != nil {
		if errors.Is(err, ErrInvalid) {
			return err
		}
		return Errorf(ErrInvalid, "not valid JSON: %w", err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return Errorf(ErrInvalid, "JSON is followed by more bytes")
	}
	return nil
}

// fold maps all spellings of a key that encoding/json takes for the same onto
// one of them: letters of other case, and those that only look so (ſ is an s).
func fold(s string) string {
	return strings.Map(func(r rune) rune {
		for {
			next := unicode.SimpleFold(r)
			if next <= r {
				return next
			}
			r = next
		}
	}, s)
}

func checkValue(dec *json.Decoder, exact map[string]string, depth int) error {
	tok, err := dec.Token()
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return err
	}
	delim, ok := tok.(json.Delim)
	if !ok {
		return nil
	}
	if depth >= 64 {
		return Errorf(ErrInvalid, "JSON is nested more than 64 deep")
	}
	seen := map[string]bool{}
	for dec.More() {
		inner := exact
		if delim == '{' {
			tok, err := dec.Token()
			if err != nil {
				return err
			}
			key := tok.(string) // in an object, what comes before a value is a string
			if seen[key] {
				return Errorf(ErrInvalid, "JSON has the key %s twice", Quote(key))
			}
			seen[key] = true
			if want, ok := exact[fold(key)]; ok && want != key {
				return Errorf(ErrInvalid, "JSON has the key %s for %q", Quote(key), want)
			}
			if key == "annotations" || key == "Labels" { // their keys are the users' own
				inner = nil
			}
		}
		if err := checkValue(dec, inner, depth+1); err != nil {
			return err
		}
	}
	_, err = dec.Token() // the closing bracket
	return err
}
