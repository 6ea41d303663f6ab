// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/dray-tools/dray/oci"
)

// Limits for what the engine answers, an image aside.
const (
	maxAnswer  = 16 << 20 // a list of images, a config
	maxMessage = 64 << 10 // an error
)

const defaultHost = "unix:///var/run/docker.sock"

// minVersion is the oldest API that is spoken: 1.24, of Docker 1.12.
const minVersion = 24

var versionForm = regexp.MustCompile(`^1\.([0-9]{1,4})$`)

// A client speaks with one engine.
type client struct {
	http  *http.Client
	place string // as DOCKER_HOST has it, without a password
	base  string // http://HOST

	mu      sync.Mutex
	version string // v1.41; empty until it is asked for
	libpod  bool   // it is Podman's service, which speaks Docker's API
}

func newClient(o Options) (*client, error) {
	host := o.Host
	if host == "" {
		host = defaultHost
	}
	c := &client{place: redact(host)}
	scheme, address, ok := strings.Cut(host, "://")
	tr := &http.Transport{MaxIdleConnsPerHost: 8, IdleConnTimeout: 30 * time.Second, DisableCompression: true, TLSHandshakeTimeout: 10 * time.Second}
	dialer := &net.Dialer{Timeout: 10 * time.Second}
	switch {
	case !ok || address == "":
		return nil, oci.Errorf(oci.ErrInvalid, "Docker host %s: want unix://PATH or tcp://HOST:PORT", oci.Quote(c.place))
	case scheme == "unix":
		c.base = "http://docker"
		tr.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", address)
		}
	case scheme == "tcp":
		u, err := url.Parse("http://" + address)
		if err != nil || u.Hostname() == "" || u.Path != "" && u.Path != "/" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
			return nil, oci.Errorf(oci.ErrInvalid, "Docker host %s: want tcp://HOST:PORT", oci.Quote(c.place))
		}
		secure := o.CertPath != "" || o.TLSVerify
		if secure {
			u.Scheme = "https"
			if tr.TLSClientConfig, err = tlsConfig(o); err != nil {
				return nil, oci.Wrap("", "certificates of the Docker host", err)
			}
		}
		if u.Port() == "" {
			u.Host = net.JoinHostPort(u.Hostname(), map[bool]string{false: "2375", true: "2376"}[secure])
		}
		c.base = u.Scheme + "://" + u.Host
		tr.DialContext = dialer.DialContext
	case scheme == "npipe", scheme == "ssh", scheme == "fd":
		return nil, oci.Errorf(oci.ErrUnsupported, "Docker host %s: dray reaches unix:// and tcp:// only; forward the socket to one of these", oci.Quote(c.place))
	default:
		return nil, oci.Errorf(oci.ErrInvalid, "Docker host %s: want unix://PATH or tcp://HOST:PORT", oci.Quote(c.place))
	}
	c.http = &http.Client{Transport: tr, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return c, nil
}

// redact takes user and password out of what DOCKER_HOST says, whether or not
// it is an address.
func redact(host string) string {
	scheme, address, ok := strings.Cut(host, "://")
	if scheme == "unix" && ok {
		return host
	}
	if !ok {
		scheme, address = "", host
	} else {
		scheme += "://"
	}
	if at := strings.LastIndexByte(address, '@'); at >= 0 {
		address = "***" + address[at:]
	}
	return scheme + address
}

// tlsConfig is what Docker's own client makes of the same settings.
func tlsConfig(o Options) (*tls.Config, error) {
	conf := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: !o.TLSVerify}
	if o.CertPath == "" {
		return conf, nil
	}
	cert, err := tls.LoadX509KeyPair(filepath.Join(o.CertPath, "cert.pem"), filepath.Join(o.CertPath, "key.pem"))
	switch {
	case err == nil:
		conf.Certificates = []tls.Certificate{cert}
	case !errors.Is(err, fs.ErrNotExist):
		return nil, oci.Errorf(oci.ErrInvalid, "%w", err)
	}
	ca, err := os.ReadFile(filepath.Join(o.CertPath, "ca.pem"))
	if errors.Is(err, fs.ErrNotExist) {
		return conf, nil
	}
	if err != nil {
		return nil, err
	}
	if conf.RootCAs = x509.NewCertPool(); !conf.RootCAs.AppendCertsFromPEM(ca) {
		return nil, oci.Errorf(oci.ErrInvalid, "ca.pem holds no certificate")
	}
	return conf, nil
}

// unreachable explains why a request got no answer.
func (c *client) unreachable(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, fs.ErrPermission):
		return oci.Errorf(oci.ErrDenied, "the Docker engine at %s is not open to this user: %v", c.place, cause(err))
	}
	return oci.Errorf(oci.ErrBusy, "no Docker engine answers at %s: %v", c.place, cause(err)) // not %w: a socket that is missing is no missing image
}

// cause leaves out the URL, which says less than the place.
func cause(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// negotiate asks for the version of the engine's API, once: what dray needs has
// been in every version for long.
func (c *client) negotiate(ctx context.Context) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.version != "" {
		return c.version, nil
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+"/_ping", nil)
	if err != nil {
		return "", err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return "", c.unreachable(ctx, err)
	}
	defer drop(resp.Body)
	if resp.StatusCode != http.StatusOK {
		return "", c.refused(resp)
	}
	v := resp.Header.Get("Api-Version")
	m := versionForm.FindStringSubmatch(v)
	if m == nil {
		return "", oci.Errorf(oci.ErrUnsupported, "what answers at %s is no Docker engine: its API has the version %s", c.place, oci.Quote(v))
	}
	if n, _ := strconv.Atoi(m[1]); n < minVersion {
		return "", oci.Errorf(oci.ErrUnsupported, "the Docker engine at %s speaks API version %s, want 1.%d or newer", c.place, v, minVersion)
	}
	c.version, c.libpod = "v"+v, resp.Header.Get("Libpod-Api-Version") != ""
	return c.version, nil
}

// drop lets the connection be used again, if little is left to read.
func drop(r io.ReadCloser) {
	_, _ = io.CopyN(io.Discard, r, maxMessage)
	r.Close()
}

// do sends a request. The caller closes the body of a good answer; any other is
// an error.
func (c *client) do(ctx context.Context, method, path string, query url.Values, body io.Reader) (*http.Response, error) {
	version, err := c.negotiate(ctx)
	if err != nil {
		return nil, err
	}
	u := c.base + (&url.URL{Path: "/" + version + path, RawQuery: query.Encode()}).String()
	req, err := http.NewRequestWithContext(ctx, method, u, body)
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/x-tar")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.unreachable(ctx, err)
	}
	if resp.StatusCode != http.StatusOK {
		defer drop(resp.Body)
		return nil, c.refused(resp)
	}
	return resp, nil
}

// refused makes an error of an answer.
func (c *client) refused(resp *http.Response) error {
	raw, _ := io.ReadAll(io.LimitReader(resp.Body, maxMessage))
	var answer struct{ Message string }
	text := strings.TrimSpace(string(raw))
	if json.Unmarshal(raw, &answer) == nil && answer.Message != "" {
		text = answer.Message
	}
	kind := oci.ErrInvalid
	switch code := resp.StatusCode; {
	case code == http.StatusNotFound:
		kind = oci.ErrNotFound
	case code == http.StatusUnauthorized, code == http.StatusForbidden:
		kind = oci.ErrDenied
	case code >= 500:
		kind = oci.ErrBusy
	}
	return oci.Errorf(kind, "the Docker engine answers %d: %s", resp.StatusCode, oci.Quote(text))
}

// ask reads an answer in JSON.
func (c *client) ask(ctx context.Context, path string, query url.Values, into any) error {
	resp, err := c.do(ctx, http.MethodGet, path, query, nil)
	if err != nil {
		return err
	}
	defer drop(resp.Body)
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return c.unreachable(ctx, err)
	}
	if len(raw) > maxAnswer {
		return oci.Errorf(oci.ErrInvalid, "the Docker engine answers %s with more than %d bytes", path, maxAnswer)
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return oci.Errorf(oci.ErrInvalid, "the Docker engine answers %s with no JSON that is known: %w", path, err)
	}
	return nil
}

// An imageInfo is what the engine says of an image.
type imageInfo struct {
	ID     oci.Digest `json:"Id"`
	RootFS struct{ Layers []oci.Digest }
}

// inspect looks up an image by name or ID. ErrNotFound if there is none.
func (c *client) inspect(ctx context.Context, name string) (imageInfo, error) {
	var info imageInfo
	err := c.ask(ctx, "/images/"+name+"/json", nil, &info)
	if errors.Is(err, oci.ErrNotFound) {
		return imageInfo{}, oci.Errorf(oci.ErrNotFound, "the Docker engine at %s has no such image", c.place)
	}
	if err == nil {
		_, err = oci.ParseDigest(string(info.ID))
	}
	if err != nil {
		return imageInfo{}, err
	}
	return info, nil
}

// save reads the image as docker save writes it.
func (c *client) save(ctx context.Context, id oci.Digest) (io.ReadCloser, error) {
	resp, err := c.do(ctx, http.MethodGet, "/images/get", url.Values{"names": {string(id)}}, nil)
	if err != nil {
		return nil, err
	}
	return resp.Body, nil
}
