"""The console: the product on the box's own screen and over SSH. It asks the services and holds nothing itself."""
