"""The papers reproduced: each table and figure, printed and computed numbers side by side."""
