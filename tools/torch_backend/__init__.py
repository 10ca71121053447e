"""What measure_torch.py is made of."""
