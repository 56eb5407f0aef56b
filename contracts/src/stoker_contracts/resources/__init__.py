"""The resources that users write, as pydantic models; the CRDs in ``deploy/crds`` are generated from them."""
