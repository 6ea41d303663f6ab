// SPDX-License-Identifier: Apache-2.0

package transport_test

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/dray-tools/dray/internal/transport"
	"github.com/dray-tools/dray/oci"
)

func TestClasses(t *testing.T) {
	for want, list := range map[string]string{
		"public":                 "1.1.1.1 8.8.8.8 2606:4700::1111 172.32.0.1 ::ffff:1.1.1.1 64:ff9b::808:808",
		"private":                "10.1.2.3 172.16.0.1 172.31.255.255 192.168.0.1 100.64.0.1 100.127.0.1 fd12::1 fc00::1 ::ffff:10.0.0.1 64:ff9b::a00:1 2002:a00:1:: fec0::1 198.18.0.1 ::a00:1 64:ff9b::7f00:1",
		"loopback":               "127.0.0.1 127.8.9.1 ::1 ::ffff:127.0.0.1",
		"link-local or reserved": "169.254.169.254 fe80::1 0.0.0.0 :: 224.0.0.1 239.1.1.1 255.255.255.255 240.0.0.1 ff02::1 ::ffff:169.254.169.254 ::ffff:0.0.0.0 64:ff9b::a9fe:a9fe 2002:a9fe:a9fe:: 0.1.2.3 100.100.100.200 168.63.129.16 fd00:ec2::254 fe80::1%eth0",
	} {
		for _, a := range strings.Fields(list) {
			if got := transport.Classify(a); got != want {
				t.Errorf("%s is %s, want %s", a, got, want)
			}
		}
	}
}

func TestBad_033_AddressPolicy(t *testing.T) {
	const pub, priv, loop, meta = "1.1.1.1", "10.0.0.1", "127.0.0.1", "169.254.169.254"
	for _, tc := range []struct {
		host  string
		at    string
		to    string
		addr  string
		allow bool
	}{
		{"reg.example", "", "https://reg.example/", pub, true},
		{"reg.example", "", "https://reg.example/", priv, true}, // the user named it
		{"reg.example", "", "https://reg.example/", loop, true},
		{"reg.example", "", "https://reg.example/", meta, true},
		{"reg.example", pub, "https://cdn.test/", pub, true},
		{"reg.example", pub, "https://cdn.test/", priv, false},
		{"reg.example", pub, "https://cdn.test/", loop, false},
		{"reg.example", pub, "https://cdn.test/", meta, false},
		{"reg.example", priv, "https://cdn.test/", pub, true},
		{"reg.example", priv, "https://cdn.test/", priv, true},
		{"reg.example", priv, "https://cdn.test/", loop, false},
		{"reg.example", priv, "https://cdn.test/", meta, false},
		{"reg.example", loop, "https://cdn.test/", priv, true},
		{"reg.example", loop, "https://cdn.test/", loop, true},
		{"reg.example", loop, "https://cdn.test/", meta, false},
		{"reg.example", meta, "https://cdn.test/", pub, true},
		{"reg.example", meta, "https://cdn.test/", priv, false},
		{"reg.example", priv + " " + pub, "https://cdn.test/", priv, false}, // it moves about
		{"reg.example", pub + " " + priv, "https://cdn.test/", priv, false},
		{"reg.example", pub, "https://reg.example:8443/", priv, false}, // another port is another server
		{"reg.example", pub, "https://trusted.test/", priv, true},
		{"10.0.0.7", "", "https://cdn.test/", priv, true}, // behind a proxy, by its literal
		{"reg.example", "", "https://cdn.test/", priv, false},
		{"reg.localhost", "", "http://reg.localhost/", loop, true},
		{"reg.localhost", "", "http://reg.localhost/", pub, false}, // plain text only to this machine
		{"localhost:5000", "", "http://localhost:5000/", priv, false},
	} {
		c := transport.New(transport.Options{TrustedRealms: []string{"trusted.test"}})
		err := c.Permit(transport.Endpoint{Host: tc.host}, strings.Fields(tc.at), tc.to, tc.addr)
		if (err == nil) != tc.allow || err != nil && !errors.Is(err, oci.ErrDenied) {
			t.Errorf("%s at %q to %s at %s: %v", tc.host, tc.at, tc.to, tc.addr, err)
		}
	}
}

// resolver answers all names from a table; a name can have several addresses.
func resolver(table map[string][]string) *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		near, far := net.Pipe()
		go func() {
			defer far.Close()
			for {
				var size [2]byte
				if _, err := io.ReadFull(far, size[:]); err != nil {
					return
				}
				query := make([]byte, binary.BigEndian.Uint16(size[:]))
				if _, err := io.ReadFull(far, query); err != nil {
					return
				}
				reply := answer(query, table)
				if _, err := far.Write(binary.BigEndian.AppendUint16(nil, uint16(len(reply)))); err != nil {
					return
				}
				if _, err := far.Write(reply); err != nil {
					return
				}
			}
		}()
		return near, nil
	}}
}

func answer(query []byte, table map[string][]string) []byte {
	var m dnsmessage.Message
	must(m.Unpack(query))
	m.Response, m.Additionals = true, nil
	q := m.Questions[0]
	addrs, ok := table[strings.TrimSuffix(q.Name.String(), ".")]
	if !ok {
		m.RCode = dnsmessage.RCodeNameError
	}
	for _, s := range addrs {
		a := netip.MustParseAddr(s)
		h := dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 1}
		switch {
		case a.Is4() && q.Type == dnsmessage.TypeA:
			m.Answers = append(m.Answers, dnsmessage.Resource{Header: h, Body: &dnsmessage.AResource{A: a.As4()}})
		case a.Is6() && q.Type == dnsmessage.TypeAAAA:
			m.Answers = append(m.Answers, dnsmessage.Resource{Header: h, Body: &dnsmessage.AAAAResource{AAAA: a.As16()}})
		}
	}
	b, err := m.Pack()
	must(err)
	return b
}

// The whole way, with a real dialer: names, addresses, connections.
func TestBad_028_ResolvedAddresses(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var hosts []string
	var port string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		hosts = append(hosts, r.Host)
		mu.Unlock()
		if to := r.URL.Query().Get("to"); to != "" {
			http.Redirect(w, r, "http://"+to+":"+port+"/", http.StatusTemporaryRedirect)
		}
	}))
	defer srv.Close()
	_, port, _ = net.SplitHostPort(srv.Listener.Addr().String())
	table := map[string][]string{
		"reg.example": {"127.0.0.1"}, "cdn.test": {"127.0.0.1"}, "meta.test": {"169.254.169.254"}, "mapped.test": {"::ffff:169.254.169.254"},
		"any.test": {"0.0.0.0"}, "any6.test": {"::"}, "both.test": {"169.254.169.254", "127.0.0.1"}, "fake.localhost": {"169.254.169.254"},
	}
	c := transport.New(transport.Options{Resolver: resolver(table)})
	defer c.Close()
	for to, want := range map[string]error{
		"": nil, "cdn.test": nil, "both.test": nil, "meta.test": oci.ErrDenied, "mapped.test": oci.ErrDenied, "any.test": oci.ErrDenied, "any6.test": oci.ErrDenied,
		"none.test": oci.ErrBusy,
	} {
		r := pull("reg.example:"+port, "/v2/x", "a/b")
		r.Endpoint.PlainHTTP = true
		r.Query = map[string][]string{"to": {to}}
		resp, err := c.Do(t.Context(), r)
		if err == nil {
			_ = resp.Body.Close()
		}
		if !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", to, err, want)
		}
	}
	if _, err := c.Do(t.Context(), pull("fake.localhost:"+port, "/v2/", "a/b")); !errors.Is(err, oci.ErrDenied) {
		t.Errorf("a name that only looks local: %v", err)
	}
	for _, h := range hosts {
		if name, _, _ := strings.Cut(h, ":"); name != "reg.example" && name != "cdn.test" && name != "both.test" {
			t.Errorf("reached %s", h)
		}
	}
}

func TestSameSite(t *testing.T) {
	for pair, want := range map[string]bool{
		"a.example.com b.example.com": true, "example.com a.b.example.com": true, "A.example.com. a.EXAMPLE.com": true, "127.0.0.1 127.0.0.1": true,
		"example.com example.org": false, "a.co.uk b.co.uk": false, "a.github.io b.github.io": false, "1.2.3.4 1.9.3.4": false,
		"127.0.0.1 localhost": false, "reg corp": false, "com com.": true, "a.com com": false, "[::1] x": false,
	} {
		a, b, _ := strings.Cut(pair, " ")
		if got := transport.SameSite(a, b); got != want {
			t.Errorf("%s: %v", pair, got)
		}
	}
}
