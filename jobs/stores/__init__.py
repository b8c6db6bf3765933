"""What `jobs.storage` is made of: one interface, and two stores behind it.

base      what a store promises, and what a key is
folder    a folder on this machine
s3        a bucket, of any store that speaks S3
"""
