// SPDX-License-Identifier: Apache-2.0

package credential_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/dray-tools/dray/internal/transport"
	"github.com/dray-tools/dray/oci"
)

// FuzzConfig: no file panics; what cannot be read names the file; what can be
// read survives a Save and an Erase with all its other members.
func FuzzConfig(f *testing.F) {
	for _, s := range []string{"", "{}", "null", "[]", auths("a.io", "me"), auths("https://a.io/v1/", "me", "a.io/x", "you"), `{"auths":{"a.io":{}},"x":[1,{"y":null}]}`,
		`{"credHelpers":{"a.io":"missing"},"credsStore":"missing","auths":null}`, `{"auths":{"a.io":{"auth":"%","identitytoken":"t"}}}`, "{\"auths\":1}", "{\"a\":1,\"a\":2}"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		b := newBench(t, map[string]string{"docker/config.json": text})
		for _, host := range []string{"a.io", "docker.io"} {
			if _, err := b.Lookup(t.Context(), host, "x/y"); err != nil && (!errors.Is(err, oci.ErrInvalid) || !strings.Contains(err.Error(), "config.json")) {
				t.Fatalf("Lookup: %v", err)
			}
		}
		if strings.Contains(text, "cred") { // would run a helper of any name
			return
		}
		if err := b.Save(t.Context(), "a.io", user("me")); err != nil {
			return
		}
		if got, err := b.Lookup(t.Context(), "a.io", ""); err != nil || got != user("me") {
			t.Fatalf("after Save: %+v, %v", got, err)
		}
		if err := b.Erase(t.Context(), "a.io"); err != nil {
			t.Fatal(err)
		}
		if got, err := b.Lookup(t.Context(), "a.io", ""); err != nil || got != (transport.Credential{}) {
			t.Fatalf("after Erase: %+v, %v", got, err)
		}
		var before, after map[string]json.RawMessage
		if json.Unmarshal([]byte(strings.TrimPrefix(text, "\xef\xbb\xbf")), &before) != nil {
			return
		}
		if err := json.Unmarshal([]byte(b.read(t, "docker/config.json")), &after); err != nil {
			t.Fatal(err)
		}
		for key := range before {
			if _, ok := after[key]; !ok {
				t.Fatalf("the member %q is gone", key)
			}
		}
	})
}
