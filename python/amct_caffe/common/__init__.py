"""Where AMCT keeps what its front ends share; scripts import from here by AMCT's names."""
