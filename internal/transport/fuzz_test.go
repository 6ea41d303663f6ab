// SPDX-License-Identifier: Apache-2.0

package transport_test

import (
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/dray-tools/dray/internal/transport"
)

var challenges = []string{
	`Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull"`,
	`Basic realm="x", Bearer realm="https://a/token", service=y`,
	`bearer REALM="a\"b\\c" , ,,service = "s, t"`, `Negotiate YII==, Basic`, `Digest realm="x", qop="auth,auth-int", nonce=abc=`,
	`Bearer realm="unfinished`, `Bearer realm=`, `=x,Bearer realm="r"`, `"quoted" Basic realm=x`, `Bearer realm="a",realm="b"`, "Bearer\trealm=x", "", ",,,", "\x00\xff",
	`Bearer error="insufficient_scope",realm="r"`, `Bearer realm=https://a/token service=s`,
}

func TestChallenges(t *testing.T) {
	for _, tc := range []struct {
		line           string
		basic          bool
		realm, service string
	}{
		{challenges[0], false, "https://auth.docker.io/token", "registry.docker.io"},
		{challenges[1], false, "https://a/token", "y"},
		{challenges[2], false, `a"b\c`, "s, t"},
		{challenges[3], true, "", ""},
		{challenges[4], false, "", ""},
		{challenges[5], false, "", ""},
		{challenges[6], false, "", ""},
		{challenges[7], false, "r", ""},
		{challenges[8], false, "", ""},
		{challenges[9], false, "a", ""},
		{challenges[10], false, "x", ""},
		{challenges[14], false, "r", ""},
		{challenges[15], false, "https://a/token", "s"},
		{`BASIC realm="x"`, true, "", ""},
		{`basic`, true, "", ""},
	} {
		if basic, realm, service := transport.Demanded(tc.line); basic != tc.basic || realm != tc.realm || service != tc.service {
			t.Errorf("%s: %v %q %q", tc.line, basic, realm, service)
		}
	}
	schemes, params := transport.Challenges(challenges[1], `Digest a=b`)
	if !reflect.DeepEqual(schemes, []string{"basic", "bearer", "digest"}) || params[1]["service"] != "y" || params[2]["a"] != "b" {
		t.Errorf("got %v %v", schemes, params)
	}
}

func TestBad_057_ChallengeFlood(t *testing.T) {
	for _, unit := range []string{"a=b,", "Bearer ", "Bearer x=y,", `a="`, `\"`, ",", "=", `Bearer realm="`} {
		start := time.Now()
		schemes, params := transport.Challenges(strings.Repeat(unit, 256<<10/len(unit)))
		if len(schemes) > 16 || len(params) > 0 && len(params[0]) > 64 || time.Since(start) > 10*time.Second {
			t.Errorf("%q: %d challenges, %v", unit, len(schemes), time.Since(start))
		}
	}
}

func FuzzChallenge(f *testing.F) {
	for _, s := range challenges {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		schemes, params := transport.Challenges(s, s)
		if len(schemes) != len(params) || len(schemes) > 16 {
			t.Fatalf("%d schemes", len(schemes))
		}
		for i, scheme := range schemes {
			if scheme == "" || scheme != strings.ToLower(scheme) || strings.ContainsAny(scheme, " \t,=\"") {
				t.Errorf("scheme %q", scheme)
			}
			for k, v := range params[i] {
				if k == "" || len(v) > len(s) {
					t.Errorf("%q = %q", k, v)
				}
			}
		}
	})
}

func FuzzRetryAfter(f *testing.F) {
	for _, s := range []string{"", "1", "-1", "1.5", "99999999999999999999", "Sat, 01 Jan 2000 00:00:09 GMT", "Fri, 31 Dec 9999 23:59:59 GMT", "Saturday, 01-Jan-00 00:00:09 GMT", "Sat Jan  1 00:00:09 2000", "soon"} {
		f.Add(s, "")
		f.Add(s, s)
	}
	now := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, s, date string) {
		if d := transport.RetryAfter(http.Header{"Retry-After": {s}, "Date": {date}}, now); d < 0 {
			t.Errorf("%q at %q: %v", s, date, d)
		}
	})
}

func FuzzTokenReply(f *testing.F) {
	for _, s := range []string{
		`{"token":"a.b.c","expires_in":300,"issued_at":"2026-11-21T00:00:00Z"}`, `{"access_token":"x"}`, `{"token":"","access_token":"y","expires_in":"60"}`,
		`{"token":"a\nb"}`, `{}`, ``, `null`, `[]`, `{"token":1}`, `{"token":"x","expires_in":-1e999}`, `{"token":"x","expires_in":"NaN"}`, `{"token":"x","expires_in":"Inf"}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		value, life, err := transport.ParseToken(b)
		if err != nil {
			return
		}
		if value == "" || strings.ContainsFunc(value, func(r rune) bool { return r <= ' ' || r > '~' }) {
			t.Errorf("token %q", value)
		}
		if life < time.Minute || life > 24*time.Hour {
			t.Errorf("life %v", life)
		}
	})
}

func FuzzClean(f *testing.F) {
	f.Add("a\x1b[2Jb\xff\u202e\n")
	f.Fuzz(func(t *testing.T, s string) {
		out := transport.Clean(s, 100)
		if len(out) > 100+16 || strings.ContainsFunc(out, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("%q", out)
		}
	})
}
