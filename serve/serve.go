// SPDX-License-Identifier: Apache-2.0

// Package serve is the OCI distribution protocol over any catalog.
package serve

import (
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dray-tools/dray/oci"
)

// Options of a registry. The zero value is a registry that anybody may read,
// write and delete from, and that forgets unfinished uploads when it ends.
type Options struct {
	// ReadOnly refuses all that changes anything.
	ReadOnly bool
	// NoDelete refuses to delete manifests, tags and blobs.
	NoDelete bool
	// Strict refuses an index unless all its manifests are there. Without it
	// an index may be sparse.
	Strict bool
	// Sparse takes images with missing blobs too, as far as the catalog does.
	Sparse bool
	// UploadDir keeps unfinished uploads, so that they survive a restart; it is
	// made if it is missing. Only one registry may use it at a time. Without
	// it they are in memory, and beyond a few MiB in temporary files.
	UploadDir string
	// Auth decides about every access; nil allows all. An error of kind
	// oci.ErrDenied is answered with 403, any other one with 401; if it has a
	// method Challenge() string, that is the WWW-Authenticate header.
	Auth func(*http.Request, Access) error
	// Log gets one record for each request, and the causes of internal errors.
	Log *slog.Logger
	// Limits against misuse.
	Limits Limits
	// Now is the clock; nil is time.Now.
	Now func() time.Time
	// Quirks are for tests of clients.
	Quirks Quirks
}

// Limits of a registry; zero values are replaced by the ones named here.
type Limits struct {
	Uploads       int           // unfinished uploads at a time: 10,000
	ClientUploads int           // the same from one address: 1,000
	UploadAge     time.Duration // after which an unfinished upload that nobody touches is dropped: 24 h
	Blob          int64         // bytes of a blob: no limit
	Page          int           // tags, repositories or referrers in one answer: 10,000
	Stall         time.Duration // for which a client may neither send nor take a byte: 2 min
}

// An Action is what a client wants to do with a repository.
type Action string

// The actions that Options.Auth decides about.
const (
	Pull   Action = "pull"
	Push   Action = "push"
	Delete Action = "delete"
	List   Action = "list" // all repositories; each one listed needs Pull too
)

// Access is one thing that a client wants to do. Repository is empty for the
// version check (Pull) and for List.
type Access struct {
	Repository string
	Action     Action
}

// New serves a catalog as a registry (distribution-spec 1.1 and its successor:
// several tags in one push, sha512). Deleting content that something else
// refers to is allowed. Optional abilities of its stores are used where they
// have them; without oci.Referrer the referrers API is not there (404).
func New(c oci.Catalog, o Options) http.Handler {
	o.Limits.defaults()
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	h := &handler{Options: o, catalog: c}
	h.uploads = newUploads(h.Options)
	if o.Quirks.Bearer != nil {
		h.tokens = newTokens(*o.Quirks.Bearer, o.Now)
	}
	return h
}

func (l *Limits) defaults() {
	orInt := func(v *int, d int) {
		if *v <= 0 {
			*v = d
		}
	}
	orTime := func(v *time.Duration, d time.Duration) {
		if *v <= 0 {
			*v = d
		}
	}
	orInt(&l.Uploads, 10_000)
	orInt(&l.ClientUploads, 1000)
	orInt(&l.Page, 10_000)
	orTime(&l.UploadAge, 24*time.Hour)
	orTime(&l.Stall, 2*time.Minute)
}

type handler struct {
	Options
	catalog oci.Catalog
	uploads *uploads
	tokens  *tokens
	naming  [64]sync.Mutex // by repository: from comparing a tag to setting it
}

// call is one request on its way through the handler.
type call struct {
	*handler
	w    http.ResponseWriter
	r    *http.Request
	at   route
	repo oci.Store
}

// endpoint is what a method does at a kind of path.
type endpoint struct {
	action Action
	run    func(*call) error
}

var endpoints = map[kind]map[string]endpoint{
	atBase:    {"GET": {Pull, (*call).base}, "HEAD": {Pull, (*call).base}},
	atCatalog: {"GET": {List, (*call).repositories}},
	atTags:    {"GET": {Pull, (*call).tags}},
	atManifest: {
		"GET": {Pull, (*call).getManifest}, "HEAD": {Pull, (*call).getManifest},
		"PUT": {Push, (*call).putManifest}, "DELETE": {Delete, (*call).deleteManifest},
	},
	atBlob: {
		"GET": {Pull, (*call).getBlob}, "HEAD": {Pull, (*call).getBlob}, "DELETE": {Delete, (*call).deleteBlob},
	},
	atReferrers: {"GET": {Pull, (*call).referrers}},
	atUploads:   {"POST": {Push, (*call).startUpload}},
	atUpload: {
		"GET": {Push, (*call).uploadStatus}, "PATCH": {Push, (*call).patchUpload},
		"PUT": {Push, (*call).finishUpload}, "DELETE": {Push, (*call).cancelUpload},
	},
}

// ServeHTTP implements http.Handler.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := h.Now()
	rec := &recorder{ResponseWriter: w}
	defer h.patience(w, r)()
	defer func() {
		h.Log.LogAttrs(r.Context(), slog.LevelInfo, "request",
			slog.String("method", r.Method), slog.String("path", r.URL.Path), slog.Int("status", rec.status),
			slog.Int64("bytes", rec.bytes), slog.Duration("took", h.Now().Sub(start)),
			slog.String("client", r.RemoteAddr), slog.String("agent", r.UserAgent()))
	}()
	rec.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
	rec.Header().Set("X-Content-Type-Options", "nosniff")
	if h.tokens != nil && r.URL.Path == tokenPath {
		h.tokens.ServeHTTP(rec, r)
		return
	}
	c := &call{handler: h, w: rec, r: r}
	if err := c.serve(); err != nil {
		c.fail(rec, err)
	}
}

// patience limits how long the server waits for a client where no handler
// does: before an answer for the body of a request that was not read, and
// after it for what is still in buffers to be taken.
func (h *handler) patience(w http.ResponseWriter, r *http.Request) (end func()) {
	conn := http.NewResponseController(w)  // test recorders have no deadlines
	_ = conn.SetWriteDeadline(time.Time{}) // that of the request before on this connection
	if r.ContentLength != 0 {              // without a body it would end the request
		_ = conn.SetReadDeadline(time.Now().Add(h.Limits.Stall))
	}
	return func() { _ = conn.SetWriteDeadline(time.Now().Add(h.Limits.Stall)) }
}

// serve checks the path, then the method, then the rights, and only then does
// something.
func (c *call) serve() (err error) {
	if c.at, err = parseRoute(c.r.URL); err != nil {
		return err
	}
	methods := endpoints[c.at.kind]
	e, ok := methods[c.r.Method]
	if !ok || !c.enabled(c.r.Method, e) {
		return c.methodError(methods)
	}
	if err := c.authorize(Access{c.at.name, e.action}); err != nil {
		return err
	}
	if c.at.name != "" {
		if c.repo, err = c.catalog.Repository(c.r.Context(), c.at.name); err != nil {
			return err
		}
	}
	return e.run(c)
}

func (c *call) enabled(method string, e endpoint) bool {
	switch {
	case method == "HEAD" && c.Quirks.HeadUnsupported && c.at.kind != atBase:
		return false
	case c.ReadOnly:
		return e.action == Pull || e.action == List
	case c.NoDelete:
		return e.action != Delete
	}
	return true
}

func (c *call) methodError(methods map[string]endpoint) error {
	var allow []string
	for m, e := range methods {
		if c.enabled(m, e) {
			allow = append(allow, m)
		}
	}
	slices.Sort(allow)
	err := answer(http.StatusMethodNotAllowed, codeUnsupported, "the method is not allowed here")
	err.header = http.Header{"Allow": {strings.Join(allow, ", ")}}
	return err
}

// authorize is the one place where rights are checked.
func (c *call) authorize(a Access) error {
	if c.tokens != nil {
		if err := c.tokens.check(c.r, a); err != nil {
			return authError(err)
		}
	}
	if c.Auth != nil {
		if err := c.Auth(c.r, a); err != nil {
			return authError(err)
		}
	}
	return nil
}

func (c *call) base() error {
	writeJSON(c.w, "application/json", struct{}{})
	return nil
}

// recorder notes what was answered. It does not hide the connection from
// http.ResponseController.
type recorder struct {
	http.ResponseWriter
	status int
	bytes  int64
}

func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

func (r *recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(p []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	n, err := r.ResponseWriter.Write(p)
	r.bytes += int64(n)
	return n, err
}
