// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/dray-tools/dray/oci"
)

const (
	firstBackoff = 200 * time.Millisecond
	lastBackoff  = 5 * time.Second
	// fewAttempts is for what rarely gets better: a host that never answered,
	// errors of no known kind.
	fewAttempts = 3
)

// retry calls do until it succeeds, or fails in a way that another attempt
// would not change, or too often.
func (c *Client) retry(ctx context.Context, once bool, do func() error) error {
	for try := 1; ; {
		err := do()
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err == errSwitched:
			continue
		case try >= c.attempts(err, once):
			if try > 1 {
				err = fmt.Errorf("after %d attempts: %w", try, err)
			}
			return err
		}
		d := backoff(try)
		if e, ok := err.(*Error); ok && e.RetryAfter > 0 {
			if e.RetryAfter > c.o.MaxWait {
				return oci.Errorf(oci.ErrBusy, "server asks to wait %s, more than %s: %w", e.RetryAfter, c.o.MaxWait, err)
			}
			d = max(d, e.RetryAfter+rand.N(min(e.RetryAfter/10, time.Second)+1)) // not all at once
		}
		c.log.LogAttrs(ctx, levelRetry, "trying again", attrs(err, try, d)...)
		if err := sleep(ctx, min(d, c.o.MaxWait)); err != nil {
			return err
		}
		try++
	}
}

// attempts is how often a request that ends in err may be sent.
func (c *Client) attempts(err error, once bool) int {
	switch e := err.(type) { // not errors.As: what is wrapped was tried again elsewhere
	case *Error:
		if once || !retryable(e.Status) || e.Status == http.StatusInternalServerError && e.Has("MANIFEST_BLOB_UNKNOWN") {
			return 1 // the last is what distribution 3 says of layers with URLs that it does not allow
		}
		return c.o.Attempts
	case *netError:
		switch {
		case e.final || once && !e.dial:
			return 1
		case e.rare:
			return min(fewAttempts, c.o.Attempts)
		}
		return c.o.Attempts
	}
	return 1
}

// retryable reports whether a status may be another one next time. 499 and
// 520-524 are those of nginx and Cloudflare.
func retryable(status int) bool {
	switch status {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests, 499,
		http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout,
		520, 521, 522, 523, 524:
		return true
	}
	return false
}

// backoff is exponential with full jitter.
func backoff(try int) time.Duration {
	d := lastBackoff
	if try < 10 {
		d = min(firstBackoff<<(try-1), lastBackoff)
	}
	return rand.N(d) + 1
}

// sleep waits for d, or until ctx ends.
func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// retryAfter reads what a server wishes, in seconds or as a date (RFC 9110,
// section 10.2.3). A date counts from the server's own clock if it tells it.
// Zero if there is no wish, or none that makes sense.
func retryAfter(h http.Header, now time.Time) time.Duration {
	s := strings.TrimSpace(h.Get("Retry-After"))
	if s == "" {
		return 0
	}
	if n, err := strconv.ParseUint(s, 10, 32); err == nil {
		return time.Duration(n) * time.Second
	}
	at, err := http.ParseTime(s)
	if err != nil {
		return 0
	}
	if date, err := http.ParseTime(h.Get("Date")); err == nil {
		now = date
	}
	return max(at.Sub(now), 0)
}

// A pacer holds back all requests to a host while it wants to be left alone.
type pacer struct {
	mu    sync.Mutex
	until time.Time
}

func (c *Client) pacer(addr string) *pacer {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.pacers[addr]
	if p == nil {
		p = &pacer{}
		c.pacers[addr] = p
	}
	return p
}

func (p *pacer) hold(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if t := time.Now().Add(d); d > 0 && t.After(p.until) {
		p.until = t
	}
}

func (p *pacer) wait(ctx context.Context) error {
	for {
		p.mu.Lock()
		d := time.Until(p.until)
		p.mu.Unlock()
		if d <= 0 {
			return nil
		}
		if err := sleep(ctx, d); err != nil {
			return err
		}
	}
}
