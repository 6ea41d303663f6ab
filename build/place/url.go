// SPDX-License-Identifier: Apache-2.0

package place

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"path"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/dray-tools/dray/build"
	"github.com/dray-tools/dray/oci"
)

// isURL reports whether a source is fetched by HTTP, or is a repository there.
func isURL(src string) bool {
	return strings.HasPrefix(src, "http://") || strings.HasPrefix(src, "https://")
}

// isRemote reports whether a source is no path.
func isRemote(src string) bool { return isURL(src) || isGit(src) }

// Discreet is a source of ADD without what must not be shown of it, as in the
// history of an image: credentials, and the query of a URL, which may have some.
func Discreet(src string) string {
	if !strings.Contains(src, "://") {
		return src
	}
	u, err := url.Parse(src)
	if err != nil {
		return "URL"
	}
	if u.RawQuery = ""; u.User != nil && u.Scheme == "ssh" {
		u.User = url.User(u.User.Username()) // who it is for
	} else {
		u.User = nil
	}
	return u.String()
}

// remote plans what an ADD fetches.
func (p *plan) remote(ctx context.Context, e *build.Engine, src string) error {
	if isGit(src) {
		return p.git(ctx, e, src)
	}
	f, err := fetch(ctx, e, src, p.s.Checksum)
	if err != nil {
		return p.of(src, err)
	}
	p.materials = append(p.materials, build.Material{Name: "source", URI: Discreet(src), Digest: map[string]string{"sha256": f.Digest.Encoded()}})
	if p.s.UnpackSet && p.s.Unpack {
		if is, err := isTar(f.open); err != nil {
			return err
		} else if is {
			p.unpack(&archive{name: Discreet(src), known: "tar " + string(f.Digest), content: f.open}, e)
			return nil
		}
	}
	if f.Name == "" && p.s.toDir() {
		return oci.Errorf(oci.ErrInvalid, "%s has no name that the file could get: give it one, as %sNAME", Discreet(src), p.s.Dest)
	}
	p.parts = append(p.parts, &download{f, p.file(f.Name)})
	return nil
}

// of says which of several sources an error is about.
func (p *plan) of(src string, err error) error {
	if len(p.s.Sources) > 1 {
		err = oci.Wrap("", Discreet(src), err)
	}
	return err
}

// A download is a file from a URL.
type download struct {
	*fetched
	to string
}

func (d *download) key() string {
	return fmt.Sprint("url ", d.Digest, " ", d.Name, " ", d.ModTime.Unix())
}

func (d *download) write(w *writer) error {
	r, err := d.open()
	if err != nil {
		return err
	}
	defer r.Close()
	return w.put(&tar.Header{Typeflag: tar.TypeReg, Name: d.to, Mode: 0o600, Size: d.Size, ModTime: w.time(d.ModTime)}, r)
}

// fetch fetches a URL; what has a checksum is fetched once.
func fetch(ctx context.Context, e *build.Engine, src, checksum string) (*fetched, error) {
	u, err := url.Parse(src)
	if err != nil || u.Host == "" {
		return nil, oci.Errorf(oci.ErrInvalid, "it is no URL")
	}
	var want oci.Digest
	if checksum != "" {
		if want, err = oci.ParseDigest(checksum); err != nil {
			return nil, oci.Wrap("", "--checksum", err)
		}
		if f := recall(e, "url "+checksum+" "+urlName(u)); f != nil {
			return f, nil
		}
	}
	res, err := get(ctx, e, u)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	check := io.Writer(io.Discard)
	var sum digest.Verifier
	if want != "" {
		sum = want.Verifier()
		check = sum
	}
	f, err := spool(ctx, e, func(w io.Writer) error {
		n, err := io.Copy(w, io.TeeReader(res.Body, check))
		var own *oci.Error
		if err != nil && ctx.Err() == nil && !errors.As(err, &own) && !errors.Is(err, oci.ErrInvalid) {
			return oci.Errorf(oci.ErrBusy, "it ends after %d bytes: %w", n, err)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if sum != nil && !sum.Verified() {
		return nil, oci.Errorf(oci.ErrCorrupt, "its checksum is not %s; it has %s", want, f.Digest)
	}
	f.Name = nameOf(u, res.Header)
	f.ModTime, _ = http.ParseTime(res.Header.Get("Last-Modified"))
	if want != "" {
		f.remember(e, "url "+checksum+" "+urlName(u))
	}
	return f, nil
}

// get asks for a URL. Where it leads on to gets no credentials.
func get(ctx context.Context, e *build.Engine, u *url.URL) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, oci.Errorf(oci.ErrInvalid, "it is no URL")
	}
	req.Header.Set("Accept-Encoding", "identity") // the bytes as they are
	req.Header.Set("User-Agent", "dray")
	c := *e.Options().HTTP
	c.Jar = nil
	c.CheckRedirect = func(r *http.Request, via []*http.Request) error {
		switch {
		case len(via) > 10:
			return oci.Errorf(oci.ErrInvalid, "more than 10 redirects")
		case r.URL.Scheme != "http" && r.URL.Scheme != "https":
			return oci.Errorf(oci.ErrDenied, "it leads to something that is not HTTP")
		case r.URL.Scheme == "http" && via[0].URL.Scheme == "https":
			return oci.Errorf(oci.ErrDenied, "it leads from https to http")
		}
		r.URL.User = nil
		for _, h := range []string{"Authorization", "Cookie", "Referer"} {
			r.Header.Del(h)
		}
		return nil
	}
	res, err := c.Do(req)
	if err != nil {
		var ue *url.Error // has the URL
		if errors.As(err, &ue) {
			err = ue.Err
		}
		switch {
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case errors.Is(err, oci.ErrInvalid), errors.Is(err, oci.ErrDenied):
			return nil, err
		}
		return nil, oci.Errorf(oci.ErrBusy, "%w", err)
	}
	if res.StatusCode == http.StatusOK {
		return res, nil
	}
	res.Body.Close()
	return nil, oci.Errorf(kindOf(res.StatusCode), "the server answers %d %s", res.StatusCode, http.StatusText(res.StatusCode))
}

func kindOf(status int) error {
	switch {
	case status == http.StatusNotFound, status == http.StatusGone:
		return oci.ErrNotFound
	case status == http.StatusUnauthorized:
		return oci.ErrUnauthorized
	case status == http.StatusForbidden:
		return oci.ErrDenied
	case status >= 500, status == http.StatusTooManyRequests, status == http.StatusRequestTimeout:
		return oci.ErrBusy
	}
	return oci.ErrInvalid
}

// urlName is the name at the end of a URL; "" if there is none.
func urlName(u *url.URL) string { return safeName(path.Base(u.Path)) }

// nameOf is the name that a file from a URL gets: that at its end, or what the
// server says.
func nameOf(u *url.URL, h http.Header) string {
	if name := urlName(u); name != "" {
		return name
	}
	_, params, err := mime.ParseMediaType(h.Get("Content-Disposition"))
	if err != nil {
		return ""
	}
	return safeName(path.Base(strings.ReplaceAll(params["filename"], `\`, "/")))
}

// safeName is a name that a file can have; "" if it is none.
func safeName(name string) string {
	if name == "." || name == ".." || name == "/" || len(name) > 255 || strings.ContainsAny(name, "/\x00") {
		return ""
	}
	return name
}
