// SPDX-License-Identifier: Apache-2.0

package registry

import "sync"

// memory is what downloads in parts may keep of bytes that arrive before it
// is their turn. Nobody waits for it: who gets none reads one stream, as two
// downloads that hold a part each and wait for more would wait forever.
type memory struct {
	size  int // bytes of one buffer
	limit int // buffers

	mu    sync.Mutex
	taken int
	users int
	free  sync.Pool // of *[]byte: used again, or left to the collector in time
}

// shared bounds the process, whatever number of hosts it talks to.
var shared = newMemory(12, 4<<20)

func newMemory(limit, size int) *memory { return &memory{size: size, limit: limit} }

// A share is one download's part of the memory.
type share struct {
	m    *memory
	held int
}

// join adds a download; leave must be called when it has given all back.
func (m *memory) join() *share {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.users++
	return &share{m: m}
}

// take returns a buffer, or nil if all are taken or the download has its fair
// share already.
func (s *share) take() []byte {
	m := s.m
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.taken >= m.limit || s.held >= max(2, m.limit/m.users) {
		return nil
	}
	m.taken++
	s.held++
	if buf, ok := m.free.Get().(*[]byte); ok {
		return *buf
	}
	return make([]byte, m.size)
}

func (s *share) give(buf []byte) {
	m := s.m
	m.mu.Lock()
	defer m.mu.Unlock()
	m.taken--
	s.held--
	m.free.Put(&buf)
}

func (s *share) leave() {
	m := s.m
	m.mu.Lock()
	defer m.mu.Unlock()
	m.users--
}
