// SPDX-License-Identifier: Apache-2.0

package daemon_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/store/daemon"
)

// FuzzLoaded reads what an engine may answer to a load.
func FuzzLoaded(f *testing.F) {
	for _, s := range []string{
		`{"stream":"Loaded image: app:1\n"}`, `{"stream":"a"}{"errorDetail":{"message":"no space\u001b[1m"},"error":"no space"}`,
		`{"error":"x"}`, `{"errorDetail":null}`, `{"errorDetail":{}}`, ``, `{`, `[]`, `null`, `<html>`, "{}\n{}\n",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, answer string) {
		err := daemon.Loaded(strings.NewReader(answer))
		if err == nil {
			return
		}
		if !errors.Is(err, oci.ErrInvalid) && !errors.Is(err, oci.ErrBusy) {
			t.Fatalf("an error of no kind: %v", err)
		}
		if strings.ContainsAny(err.Error(), "\x1b\r\n") {
			t.Fatalf("it could steer a terminal: %q", err)
		}
	})
}
