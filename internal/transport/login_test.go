// SPDX-License-Identifier: Apache-2.0

package transport_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/dray-tools/dray/internal/transport"
	"github.com/dray-tools/dray/oci"
)

func TestLogin(t *testing.T) {
	bob := transport.Credential{Username: "bob", Password: "wrong-password"}
	bearer := func(rw http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer good" {
			rw.Header().Set("WWW-Authenticate", `Bearer realm="`+realm+`",service="svc"`)
			rw.WriteHeader(http.StatusUnauthorized)
		}
	}
	service := func(refusal int) http.HandlerFunc {
		return func(rw http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") != aliceBasic && !strings.HasPrefix(r.Header.Get("Content-Type"), "application/x-www") {
				rw.WriteHeader(refusal)
				return
			}
			_, _ = rw.Write([]byte(`{"access_token":"good"}`))
		}
	}
	for name, tc := range map[string]struct {
		registry, service http.HandlerFunc
		cred              transport.Credential
		want              error
	}{
		"basic":          {basicOnly, ok, alice, nil},
		"basic wrong":    {basicOnly, ok, bob, oci.ErrUnauthorized},
		"basic, token":   {basicOnly, ok, transport.Credential{IdentityToken: "x"}, oci.ErrUnauthorized},
		"bearer":         {bearer, service(401), alice, nil},
		"bearer wrong":   {bearer, service(401), bob, oci.ErrUnauthorized},
		"bearer denied":  {bearer, service(403), bob, oci.ErrUnauthorized},
		"bad grant":      {bearer, service(400), bob, oci.ErrUnauthorized},
		"identity":       {bearer, service(401), transport.Credential{IdentityToken: "x"}, nil},
		"registry token": {bearer, service(401), transport.Credential{RegistryToken: "good"}, nil},
		"wrong token":    {bearer, service(401), transport.Credential{RegistryToken: "bad-token"}, oci.ErrUnauthorized},
		"open":           {ok, ok, alice, nil},
		"nobody":         {ok, ok, transport.Credential{}, oci.ErrInvalid},
		"no registry":    {http.NotFound, ok, alice, oci.ErrNotFound},
		"mute":           {func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(401) }, ok, alice, oci.ErrUnsupported},
	} {
		t.Run(name, func(t *testing.T) {
			play(t, func(w *world) {
				w.serve("reg.example:443", tc.registry)
				w.serve("auth.reg.example:443", tc.service)
				err := w.client().Login(w.ctx, transport.Endpoint{Host: "reg.example"}, tc.cred)
				if !errors.Is(err, tc.want) {
					t.Errorf("got %v, want %v", err, tc.want)
				}
				if err != nil && strings.Contains(err.Error()+w.out.String(), "wrong-password") {
					t.Errorf("password in %v", err)
				}
			})
		})
	}
}
