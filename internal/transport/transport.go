// SPDX-License-Identifier: Apache-2.0

// Package transport is HTTP for registries: credentials and tokens, retry and
// back-off, limits, TLS, and the rules about which host may be talked to and
// what it may be told.
//
// A [Client] serves a whole run, so that connections, tokens, limits and
// back-off are shared by all that the run does.
package transport

import (
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"time"
)

// An Endpoint is a registry as the user named it, and how the user wants it
// to be reached. With PlainHTTP and InsecureTLS both, it is either: http is
// tried, and https spoken if the registry turns out to want that.
type Endpoint struct {
	Host        string // docker.io, ghcr.io, 127.0.0.1:5000
	PlainHTTP   bool   // http; a loopback host is tried over http without this
	InsecureTLS bool   // https without verifying the certificate
}

// A Credential proves who the user is. The zero value is nobody.
type Credential struct {
	Username, Password string
	IdentityToken      string // an OAuth2 refresh token, used instead of a password
	RegistryToken      string // a bearer token, sent as it is
}

// A Scope is a right on a repository that a request needs.
type Scope struct {
	Repository string // within the registry; "" with the actions "catalog" is registry:catalog:*
	Actions    string // "pull", "pull,push", "delete", "catalog"
}

// Options are what a Client needs to know. The zero value works: anonymous,
// system TLS roots, no proxy, default limits.
type Options struct {
	UserAgent string
	Log       *slog.Logger // every request at debug level, retries at info level, without secrets; nil: nothing
	// Credentials looks up what the user has for a repository; called at most
	// once a host and repository, only after the host has asked.
	Credentials func(ctx context.Context, host, repository string) (Credential, error)
	// TLS gives the TLS settings for a host (roots, client certificate); nil: the default.
	TLS   func(host string) (*tls.Config, error)
	Proxy func(*http.Request) (*url.URL, error)
	// TrustedRealms are hosts of token services that the user trusts with
	// credentials beside those of the registry's own site.
	TrustedRealms []string
	Resolver      *net.Resolver // nil: the system's

	RequestsPerHost int           // in flight at a time, Large ones not counted; 0: 64
	RatePerHost     float64       // requests a second; 0: no limit
	Attempts        int           // of one request; 0: 10
	MaxWait         time.Duration // one wait between attempts, Retry-After included; 0: 120 s
	ConnectTimeout  time.Duration // 0: 10 s
	HeaderTimeout   time.Duration // GET and HEAD; others get ten times as long; 0: 30 s
	StallTimeout    time.Duration // without 1 KiB of progress of a body; 0: 60 s
}

// A Request is one call of the distribution API.
type Request struct {
	Endpoint Endpoint
	Method   string
	Path     string      // "/v2/…", escaped
	URL      *url.URL    // instead of Path: the Location of an upload, absolute
	Query    url.Values  // added to that of URL
	Header   http.Header // Authorization, Cookie and Accept-Encoding are not the caller's and are dropped
	// Scopes are the rights that the request needs. The repository of the first
	// one chooses the credential.
	Scopes []Scope

	// Body is opened anew for every attempt. Size is its length; -1: nobody knows
	// it before its end. Such a request takes Once, and an answer to it is final.
	Body func(ctx context.Context) (io.ReadCloser, error)
	Size int64

	// Accept lists the statuses that are answers; any other is an *Error.
	// Empty: all of 2xx.
	Accept []int
	// Large marks a request that moves a blob: it is admitted by its caller and
	// does not wait behind the limit for small ones.
	Large bool
	// Once forbids another attempt after the request may have done something at
	// the server (an upload into a session). It is still sent again when no
	// connection came about, and once it has a token after a 401, because then
	// the server has refused it as a whole.
	Once bool
}
