"""Priority pricing: waits of classes, rental prices, users who answer to them, value of capacity."""
