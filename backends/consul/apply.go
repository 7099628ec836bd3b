package consul

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/hashicorp/consul/api"
)

// operation and outcome are api.TxnOp and api.TxnResponse without nodes, services
// and checks, of which encoding/json would learn anew in every process. Those are
// large, and a process may acquire once in its life.
type operation struct {
	KV *api.KVTxnOp
}

type outcome struct {
	Results []struct{ KV *changed }
	Errors  api.TxnErrors
}

// changed is what a transaction tells of a key: for a check from before.
type changed struct {
	Key         string
	Session     string
	ModifyIndex uint64
}

// apply sends a transaction that writes. A rolled back one is no error; the
// outcome's Errors say why.
func (s *store) apply(ctx context.Context, ops []*api.KVTxnOp) (*outcome, error) {
	all := make([]operation, len(ops))
	for i, op := range ops {
		op.Namespace, op.Partition = s.o.Namespace, s.o.Partition
		all[i].KV = op
	}
	var out outcome
	_, err := s.client.Raw().Write("/v1/txn", all, &out, s.write(ctx))
	if err == nil {
		return &out, nil
	}
	var status api.StatusError
	if !errors.As(err, &status) || status.Code != http.StatusConflict {
		return nil, classify(err)
	}
	if json.Unmarshal([]byte(status.Body), &out) != nil || len(out.Errors) == 0 {
		return nil, errUnexpected
	}
	return &out, nil
}

// index is that of a key after the transaction, 0 if the outcome does not tell.
func (o *outcome) index(key string) uint64 {
	var index uint64
	for _, r := range o.Results {
		if r.KV != nil && r.KV.Key == key {
			index = max(index, r.KV.ModifyIndex)
		}
	}
	return index
}
