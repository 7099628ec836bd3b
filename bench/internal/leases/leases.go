// Package leases stands in for a Kubernetes API server, as far as client-go's
// LeaseLock needs one: leases can be read, created, and updated if the version
// they were read at is still the newest. They live in memory; nothing is
// authenticated, admitted or written to etcd, so a real server is slower.
package leases

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"

	coordination "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Server is a running stand-in.
type Server struct {
	listener net.Listener
	requests atomic.Int64

	mu      sync.Mutex
	version int
	leases  map[string]coordination.Lease // by namespace/name
}

// Start runs a server on a free loopback port.
func Start() (*Server, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &Server{listener: l, leases: make(map[string]coordination.Lease)}
	mux := http.NewServeMux()
	const collection = "/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
	mux.HandleFunc("GET "+collection+"/{name}", s.get)
	mux.HandleFunc("POST "+collection, s.create)
	mux.HandleFunc("PUT "+collection+"/{name}", s.update)
	go func() { _ = http.Serve(l, mux) }() // ends with Close
	return s, nil
}

// URL is where the server is.
func (s *Server) URL() string { return "http://" + s.listener.Addr().String() }

// Requests is how many requests were answered so far.
func (s *Server) Requests() int64 { return s.requests.Load() }

// Close stops the server.
func (s *Server) Close() { _ = s.listener.Close() }

func (s *Server) get(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	l, ok := s.leases[r.PathValue("namespace")+"/"+r.PathValue("name")]
	s.mu.Unlock()
	if !ok {
		s.refuse(w, http.StatusNotFound, metav1.StatusReasonNotFound)
		return
	}
	s.answer(w, http.StatusOK, l)
}

func (s *Server) create(w http.ResponseWriter, r *http.Request) {
	var l coordination.Lease
	if err := json.NewDecoder(r.Body).Decode(&l); err != nil {
		s.refuse(w, http.StatusBadRequest, metav1.StatusReasonBadRequest)
		return
	}
	key := r.PathValue("namespace") + "/" + l.Name
	s.mu.Lock()
	_, exists := s.leases[key]
	if !exists {
		l = s.put(key, l)
	}
	s.mu.Unlock()
	if exists {
		s.refuse(w, http.StatusConflict, metav1.StatusReasonAlreadyExists)
		return
	}
	s.answer(w, http.StatusCreated, l)
}

func (s *Server) update(w http.ResponseWriter, r *http.Request) {
	var l coordination.Lease
	if err := json.NewDecoder(r.Body).Decode(&l); err != nil {
		s.refuse(w, http.StatusBadRequest, metav1.StatusReasonBadRequest)
		return
	}
	key := r.PathValue("namespace") + "/" + r.PathValue("name")
	s.mu.Lock()
	old, exists := s.leases[key]
	fits := exists && old.ResourceVersion == l.ResourceVersion
	if fits {
		l = s.put(key, l)
	}
	s.mu.Unlock()
	switch {
	case !exists:
		s.refuse(w, http.StatusNotFound, metav1.StatusReasonNotFound)
	case !fits:
		s.refuse(w, http.StatusConflict, metav1.StatusReasonConflict)
	default:
		s.answer(w, http.StatusOK, l)
	}
}

// put stores l as the newest version. The caller has locked s.
func (s *Server) put(key string, l coordination.Lease) coordination.Lease {
	s.version++
	l.ResourceVersion = strconv.Itoa(s.version)
	l.APIVersion, l.Kind = "coordination.k8s.io/v1", "Lease"
	s.leases[key] = l
	return l
}

func (s *Server) refuse(w http.ResponseWriter, code int, reason metav1.StatusReason) {
	s.answer(w, code, metav1.Status{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"},
		Status:   metav1.StatusFailure, Code: int32(code), Reason: reason, Message: fmt.Sprintf("refused: %s", reason),
	})
}

func (s *Server) answer(w http.ResponseWriter, code int, v any) {
	s.requests.Add(1)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(v) // the client is gone if this fails
}
