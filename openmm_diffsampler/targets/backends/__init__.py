"""Who evaluates a System: closed forms in torch, or OpenMM contexts."""
