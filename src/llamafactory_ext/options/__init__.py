"""How an option is declared, read and refused; no method is known here."""
