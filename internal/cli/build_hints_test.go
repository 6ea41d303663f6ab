// SPDX-License-Identifier: Apache-2.0

package cli_test

import (
	"errors"
	"testing"

	"github.com/vbauerster/mpb/v8/decor"

	"github.com/dray-tools/dray/internal/cli"
	"github.com/dray-tools/dray/oci"
)

// TestEngineHint looks at names as docker build takes them, which mean another
// place here.
func TestEngineHint(t *testing.T) {
	t.Parallel()
	at := func(place string, kind error) error {
		return oci.Wrap("", "app", oci.Wrap("", place, oci.Errorf(kind, "no")))
	}
	const hub = "docker.io/library/web:latest"
	hint := "web is docker.io/library/web (dray login docker.io); for the Docker engine: -o docker-daemon:web"
	for _, c := range []struct {
		err        error
		name, want string
	}{
		{at(hub, oci.ErrBusy), "web", hint},
		{at(hub, oci.ErrUnauthorized), "web", hint},
		{at("docker.io/me/web:2", oci.ErrDenied), "me/web:2", "me/web:2 is docker.io/me/web:2 (dray login docker.io); for the Docker engine: -o docker-daemon:me/web:2"},
		{at(hub, oci.ErrInvalid), "web", ""},
		{at(hub, oci.ErrBusy), "docker.io/library/web", ""},
		{at("docker.io/library/busybox:latest", oci.ErrBusy), "web", ""},
		{at("registry.example/web:1", oci.ErrBusy), "registry.example/web:1", ""},
		{errors.New("no"), "web", ""},
		{nil, "web", ""},
	} {
		if got := cli.EngineHint(c.err, "oci:a:1", c.name); got != c.want {
			t.Errorf("%s, %v: %q, want %q", c.name, c.err, got, c.want)
		}
	}
}

// TestFar: a total that is not known is not shown as one of nothing.
func TestFar(t *testing.T) {
	t.Parallel()
	for want, s := range map[string]decor.Statistics{"192.4 MB": {Current: 192_400_000}, "0 B / 1.0 kB": {Total: 1000}, "12 B / 2.5 MB": {Current: 12, Total: 2_500_000}} {
		if got := cli.Far(s); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
