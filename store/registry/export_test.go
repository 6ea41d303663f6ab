// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"net/http"
	"net/url"
	"time"
)

// SetBackoff makes the pauses between attempts short.
func (g *Registry) SetBackoff(d time.Duration) { g.backoff = d }

// What fuzz targets reach.
var (
	ContentRange = contentRange
	RangeEnd     = rangeEnd
	ReadSession  = readSession
)

// NextPage is the query of the next page.
func NextPage(r *http.Response) (url.Values, error) { return nextPage(r) }

// SetParts lets blobs of least bytes or more be read in parts, and every
// stream be found slow or fast. At most buffers of size bytes are taken; the
// result tells how many are at the moment.
func (g *Registry) SetParts(least, lead, probe int64, buffers, size int, slow bool) (taken func() int) {
	m := newMemory(buffers, size)
	g.memory = m
	g.sizes = partSizes{least: least, lead: lead, probe: probe, window: probe, slow: func(int64, time.Duration, time.Duration) bool { return slow }}
	return func() int {
		m.mu.Lock()
		defer m.mu.Unlock()
		return m.taken + m.users
	}
}

// Slow judges a stream.
var Slow = slow

// Shares is a memory of so many buffers, and for each of n downloads a
// function to take one of them.
func Shares(buffers, n int) (take []func() bool, give []func()) {
	m := newMemory(buffers, 1)
	for range n {
		s, held := m.join(), [][]byte(nil)
		take = append(take, func() bool {
			b := s.take()
			if b != nil {
				held = append(held, b)
			}
			return b != nil
		})
		give = append(give, func() {
			s.give(held[0])
			held = held[1:]
		})
	}
	return take, give
}

// Windows is how many chunks are read ahead after each of them that was ready
// ('r') or had to be waited for ('w').
func Windows(limit int, chunks string) (list []int) {
	a := ahead{share: newMemory(limit, 1).join(), window: 2}
	for _, c := range chunks {
		a.adapt(c == 'r')
		list = append(list, a.window)
	}
	return list
}
