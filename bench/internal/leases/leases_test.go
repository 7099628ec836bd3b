package leases

import (
	"testing"

	coordination "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	client "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/client-go/rest"
)

// The real client finds what LeaseLock relies on: not found, exists already,
// conflict.
func TestLeaseLockRules(t *testing.T) {
	s, err := Start()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	c, err := client.NewForConfig(&rest.Config{Host: s.URL(), ContentConfig: rest.ContentConfig{ContentType: "application/json"}})
	if err != nil {
		t.Fatal(err)
	}
	leases, ctx := c.Leases("ns"), t.Context()
	if _, err := leases.Get(ctx, "a", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("get of nothing: %v", err)
	}
	holder := "me"
	first, err := leases.Create(ctx, &coordination.Lease{ObjectMeta: metav1.ObjectMeta{Name: "a"}, Spec: coordination.LeaseSpec{HolderIdentity: &holder}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := leases.Create(ctx, first, metav1.CreateOptions{}); !apierrors.IsAlreadyExists(err) {
		t.Errorf("second create: %v", err)
	}
	second, err := leases.Update(ctx, first, metav1.UpdateOptions{})
	if err != nil || second.ResourceVersion == first.ResourceVersion {
		t.Fatalf("update: %v, version %s", err, second.ResourceVersion)
	}
	if _, err := leases.Update(ctx, first, metav1.UpdateOptions{}); !apierrors.IsConflict(err) {
		t.Errorf("update of an old version: %v", err)
	}
	got, err := leases.Get(ctx, "a", metav1.GetOptions{})
	if err != nil || got.ResourceVersion != second.ResourceVersion || *got.Spec.HolderIdentity != holder {
		t.Errorf("get: %+v, %v", got, err)
	}
	if s.Requests() != 6 {
		t.Errorf("%d requests, want 6", s.Requests())
	}
}
